#include "plugin/breadcrumb.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <initializer_list>

namespace tetrad::plugin {
namespace {

struct Crumb {
  const char* plugin = nullptr;
  const char* function = nullptr;
};
// Initial-exec storage of the executable: safe to read in a signal handler.
thread_local constinit Crumb crumb;
// The newest mark of any thread: a plugin's work on libtorch's pool crashes on a thread without a mark.
constinit std::atomic<const char*> newest_plugin{nullptr};
constinit std::atomic<const char*> newest_function{nullptr};
std::atomic<bool> reported{false};

void mark(const char* plugin, const char* function) noexcept {
  crumb = {plugin, function};
  newest_function.store(function, std::memory_order_relaxed);
  newest_plugin.store(plugin, std::memory_order_relaxed);
}

// Only async-signal-safe functions below. The report is collected and written at once, so that what other
// processes write to the same terminal does not end up inside it. Whoever set `reported` owns the buffer.
constexpr std::size_t kReportBytes = 2048;
constinit char report[kReportBytes] = {};
constinit std::size_t report_size = 0;

void put(const char* text) noexcept {
  const std::size_t count = std::min(std::strlen(text), kReportBytes - report_size);
  std::memcpy(report + report_size, text, count);
  report_size += count;
}

void send_report() noexcept {
  std::size_t at = 0;
  while (at < report_size) {
    const ssize_t written = ::write(STDERR_FILENO, report + at, report_size - at);
    if (written <= 0) return;  // nowhere left to report to
    at += static_cast<std::size_t>(written);
  }
}

void put_crumb() noexcept {
  if (crumb.plugin == nullptr) {
    put(", outside of any plugin");
    const char* plugin = newest_plugin.load(std::memory_order_relaxed);
    const char* function = newest_function.load(std::memory_order_relaxed);
    if (plugin != nullptr && function != nullptr) {
      put("; another thread is in plugin '");
      put(plugin);
      put("', function '");
      put(function);
      put("'");
    }
    put("\n");
    return;
  }
  put(" while in plugin '");
  put(crumb.plugin);
  put("', function '");
  put(crumb.function);
  put("'\n");
}

const char* signal_text(int number) noexcept {
  switch (number) {
    case SIGSEGV:
      return "signal 11 (SIGSEGV)";
    case SIGBUS:
      return "signal 7 (SIGBUS)";
    case SIGFPE:
      return "signal 8 (SIGFPE)";
    case SIGILL:
      return "signal 4 (SIGILL)";
    case SIGABRT:
      return "signal 6 (SIGABRT)";
    default:
      return "a signal";
  }
}

void on_signal(int number) {
  if (!reported.exchange(true)) {
    put("error: [crash] ");
    put(signal_text(number));
    put_crumb();
    send_report();
  }
  // SA_RESETHAND has put the default action back: this ends the process as the signal would have.
  ::raise(number);
}

[[noreturn]] void on_terminate() noexcept {
  if (!reported.exchange(true)) {
    put("error: [crash] terminated");
    put_crumb();
    if (const std::exception_ptr exception = std::current_exception()) {
      try {
        std::rethrow_exception(exception);
      } catch (const std::exception& e) {
        put("  by an exception that nobody caught: ");
        put(e.what());
        put("\n");
      } catch (...) {
        put("  by an exception that is not a std::exception\n");
      }
    }
    send_report();
  }
  std::abort();
}

}  // namespace

Breadcrumb::Breadcrumb(const char* plugin, const char* function) noexcept
    : outer_plugin_(crumb.plugin), outer_function_(crumb.function) {
  mark(plugin, function);
}

Breadcrumb::~Breadcrumb() {
  mark(outer_plugin_, outer_function_);
}

void install_crash_handler() {
  static std::atomic<bool> installed{false};
  if (installed.exchange(true)) return;
  // A stack overflow leaves no stack to report from. This one serves the main thread; it lives as long as the
  // process.
  constexpr std::size_t kStackBytes = 64U << 10;
  static char stack_bytes[kStackBytes];
  stack_t stack{};
  stack.ss_sp = stack_bytes;
  stack.ss_size = kStackBytes;
  ::sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_ONSTACK | static_cast<int>(SA_RESETHAND);
  ::sigemptyset(&action.sa_mask);
  for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) ::sigaction(number, &action, nullptr);
  std::set_terminate(on_terminate);
}

}  // namespace tetrad::plugin
