// Says which plugin was running when the process crashes. A Breadcrumb marks the calling thread as being
// inside a plugin's function for its lifetime (a few stores to memory); install_crash_handler()
// makes std::terminate and the fatal signals print it before the process ends in the ordinary way:
//   error: [crash] signal 11 (SIGSEGV) while in plugin 'backend-x', function 'forward'
// On a thread without a mark (a task of libtorch's pool) the newest mark of another one is named instead.
#pragma once

namespace tetrad::plugin {

class Breadcrumb {
 public:
  // Both texts must outlive the breadcrumb; nested ones restore the outer one.
  Breadcrumb(const char* plugin, const char* function) noexcept;
  Breadcrumb(const Breadcrumb&) = delete;
  Breadcrumb& operator=(const Breadcrumb&) = delete;
  ~Breadcrumb();

 private:
  const char* outer_plugin_;
  const char* outer_function_;
};

// For SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT and std::terminate. The signal is raised again afterwards, so
// the parent sees the true end. Call once, early in main(); a second call does nothing.
void install_crash_handler();

}  // namespace tetrad::plugin
