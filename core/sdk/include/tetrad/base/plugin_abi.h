// The line between host and plugin: one exported C function, `tetrad_plugin_v1`, that swaps two tables. The
// major version is in the function's name, the minor one (kPluginAbi) in the tables; fields are only ever
// appended, and neither side reads past the struct_size that the other one wrote. Before any of this runs the
// host has compared the fingerprint in the plugin's metadata with its own, so the same headers, C++ library
// and libtorch stand on both sides: std::string, std::vector, std::span and pure abstract interfaces may
// cross. Exceptions, std::function, std::shared_ptr, YAML and JSON nodes never do; every function here is
// noexcept.
//
// Sequence: entry(host, plugin, status) once -> create/destroy any number of times -> close once, before
// main() returns. A plugin is never unloaded. Threads: entry and close on one thread; create and destroy from
// one thread at a time; log from any thread. Authors do not write this by hand: see plugin.h.
#pragma once

#include <tetrad/base/options.h>
#include <tetrad/base/status.h>

#include <cstdint>

namespace tetrad {

// Minor version of the tables below. Each side stamps min(its own, the other's).
inline constexpr std::uint32_t kPluginAbi = 1;

enum class LogLevel : std::int32_t { debug = 0, info = 1, warning = 2, error = 3 };

extern "C" {

// Services of the host; valid until the process ends.
struct TetradHostV1 {
  std::uint32_t struct_size;  // bytes that the host filled in
  std::uint32_t version;      // kPluginAbi of the host
  void* context;              // handed back in every call
  // One line (no newline at the end), UTF-8, tagged by the host with the plugin's id. Plugins write neither
  // to stdout nor to stderr themselves. `level` is a LogLevel.
  void (*log)(void* context, std::int32_t level, const char* plugin_id, const char* text) noexcept;
  // Optional services by name and revision, e.g. "tetrad.allocator/1"; null when the host has none by that
  // name.
  const void* (*get_extension)(void* context, const char* name) noexcept;
};

// What the plugin fills in. Strings and functions live as long as the process.
struct TetradPluginV1 {
  std::uint32_t struct_size;   // in: bytes that the host has room for; out: bytes that the plugin filled in
  std::uint32_t version;       // in: kPluginAbi of the host; out: min(host's, plugin's)
  const char* id;              // as in plugin.json
  const char* plugin_version;  // as in plugin.json
  // Makes an object of `kind` ("linear", "kv_cache", ...): *object is a pointer to that kind's interface
  // (tetrad::LinearBackend*, tetrad::KvPolicy*, ...), unchanged when *status is not ok. `options` are
  // complete and checked against the schema in plugin.json; they are valid during the call only.
  void (*create)(const char* kind, const Options* options, void** object, Status* status) noexcept;
  // Ends an object that create, or a method such as KvPolicy::fork, made.
  void (*destroy)(const char* kind, void* object) noexcept;
  // Joins threads and gives back devices; called after every object is destroyed. May be null.
  void (*close)() noexcept;
};

using TetradPluginEntryV1 = void (*)(const TetradHostV1* host, TetradPluginV1* plugin,
                                     Status* status) noexcept;

// The one exported symbol of a plugin.
[[gnu::visibility("default")]] void tetrad_plugin_v1(const TetradHostV1* host, TetradPluginV1* plugin,
                                                     Status* status) noexcept;

}  // extern "C"

inline constexpr const char* kPluginEntry = "tetrad_plugin_v1";

}  // namespace tetrad
