// `host convert`: in the launcher itself, because conversions need no libtorch.
#include "checkpoint/convert.h"
#include "cli/host/commands.h"
#include "io/memory.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string_view>

namespace tetrad::cli {
namespace {

using checkpoint::Choice;

std::atomic<int> stop_signal{0};
static_assert(std::atomic<int>::is_always_lock_free, "set from a signal handler");

extern "C" void stop_conversion(int signal) {
  stop_signal = signal;
}

// The first signal ends the conversion cleanly, the next one at once.
void catch_signals() {
  struct sigaction action {};
  action.sa_handler = stop_conversion;
  action.sa_flags = SA_RESETHAND;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
  // A file that may not grow further is an error like a full disk, not a death.
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGXFSZ, &ignore, nullptr);
}

nvfp4::Profile parse_profile(std::string_view name) {
  if (name == "torchao_inference") return nvfp4::Profile::torchao_inference;
  if (name == "modelopt") return nvfp4::Profile::modelopt;
  if (name == "compressed_tensors") return nvfp4::Profile::compressed_tensors;
  return nvfp4::Profile::te;
}

Choice parse_choice(std::string_view name) {
  return name == "packed" ? Choice::packed : name == "dense" ? Choice::dense : Choice::automatic;
}

checkpoint::Conversion conversion_of(const Arguments& a) {
  checkpoint::Conversion c;
  c.from = a.from;
  c.to = a.to;
  if (!a.config_from.empty()) c.config_from = a.config_from;
  c.layout = checkpoint::layout_from_name(a.format).value();
  c.encoding.options.profile = parse_profile(a.profile);
  c.encoding.options.global =
      a.global_scale == "exact" ? nvfp4::GlobalRule::exact : nvfp4::GlobalRule::power_of_two;
  c.encoding.head = parse_choice(a.head);
  c.encoding.embedding = parse_choice(a.embedding);
  c.encoding.keep = a.keep;
  c.max_shard_bytes = static_cast<std::uint64_t>(a.max_shard_gb * 1e9);
  c.version = TETRAD_VERSION;
  c.stop = &stop_signal;
  if (::isatty(STDERR_FILENO) == 1) {
    c.progress = [shown = std::string()](const char* phase, std::uint64_t done, std::uint64_t total) mutable {
      const auto percent = total == 0 ? 100 : done * 100 / total;
      std::string line = fmt::format("[convert] {} {} of {} ({} %)", phase, io::format_gib(done),
                                     io::format_gib(total), percent);
      if (line == shown) return;
      std::fprintf(stderr, "\r%s\033[K%s", line.c_str(), done == total ? "\n" : "");
      shown = std::move(line);
    };
  }
  return c;
}

}  // namespace

int run_convert_command(const Arguments& arguments) {
  const auto begin = std::chrono::steady_clock::now();
  const checkpoint::Conversion conversion = conversion_of(arguments);
  catch_signals();
  checkpoint::Converted done;
  try {
    done = checkpoint::convert(conversion);
  } catch (const checkpoint::Interrupted& interrupted) {
    std::fprintf(stderr, "error: [convert] stopped by signal %d; %s was not made\n", interrupted.signal,
                 conversion.to.c_str());
    return 128 + interrupted.signal;
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  for (const std::string& note : done.notes) std::fprintf(stderr, "[convert] note: %s\n", note.c_str());
  if (arguments.json) {
    nlohmann::json files = nlohmann::json::array();
    for (const checkpoint::WrittenFile& file : done.files)
      files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
    const nlohmann::json record = {{"directory", done.directory.string()},
                                   {"from", checkpoint::layout_name(done.from)},
                                   {"format", checkpoint::layout_name(done.layout)},
                                   {"tensors", done.tensors},
                                   {"quantised", done.quantised},
                                   {"read_bytes", done.read_bytes},
                                   {"written_bytes", done.written_bytes},
                                   {"files", files},
                                   {"notes", done.notes},
                                   {"seconds", seconds}};
    std::printf("%s\n", record.dump().c_str());
    return 0;
  }
  std::printf("%s: %s, %zu weights, %zu of them NVFP4, %s in %zu file(s), verified, %.1f s\n",
              done.directory.c_str(), checkpoint::layout_name(done.layout), done.tensors, done.quantised,
              io::format_gib(done.written_bytes).c_str(), done.files.size(), seconds);
  for (const checkpoint::WrittenFile& file : done.files)
    std::printf("%s  %s\n", file.sha256.c_str(), file.name.c_str());
  return 0;
}

}  // namespace tetrad::cli
