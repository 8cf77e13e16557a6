#include "plugin/loader.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <link.h>
#include <sys/stat.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#define BOOST_DLL_USE_STD_FS
#include <boost/dll/shared_library.hpp>

#include "plugin/registry.h"
#include "plugin/status_exit_code.h"

namespace tetrad::plugin {

namespace fs = std::filesystem;

struct LoaderState {
  struct Entry {
    std::unique_ptr<Plugin> plugin;
    std::string failure;  // loaded into the process, but refused afterwards
    boost::dll::shared_library library;
  };
  std::recursive_mutex mutex;
  std::mutex log_mutex;
  std::map<std::pair<std::uint64_t, std::uint64_t>, Entry> by_inode;
  std::vector<Plugin*> order;
  std::vector<std::unique_ptr<detail::Object>> objects;  // creation order
  LogSink sink;
  TetradHostV1 host{};
  bool down = false;
  std::string poisoned;  // id of a plugin that threw inside dlopen: the dynamic loader's lock is still held

  Plugin& load(const fs::path& file);
  std::unique_ptr<Plugin> open(const fs::path& file, Entry& entry);
  static TetradPluginV1& table(Plugin& plugin) { return plugin.table_; }
};

namespace detail {
struct Object {
  Plugin* plugin = nullptr;
  std::string kind;
  void* object = nullptr;
};
}  // namespace detail

namespace {

// Leaked: plugins' code must stay callable until the very end of the process.
LoaderState& state() {
  static LoaderState* const instance = new LoaderState;
  return *instance;
}

void host_log(void* context, std::int32_t level, const char* plugin_id, const char* text) noexcept {
  auto& loader = *static_cast<LoaderState*>(context);
  const LogLevel clamped = static_cast<LogLevel>(std::clamp(level, 0, 3));
  try {
    const std::lock_guard lock(loader.log_mutex);
    const std::string_view id = plugin_id == nullptr ? "?" : plugin_id;
    const std::string_view line = text == nullptr ? "" : text;
    if (loader.sink) {
      loader.sink(clamped, id, line);
    } else if (clamped != LogLevel::debug) {
      const char* prefix = clamped == LogLevel::error     ? "error: "
                           : clamped == LogLevel::warning ? "warning: "
                                                          : "";
      const std::string full = fmt::format("[plugin {}] {}{}\n", id, prefix, line);
      std::fwrite(full.data(), 1, full.size(), stderr);
    }
  } catch (...) {  // a log line is not worth a crash
  }
}

const void* host_extension(void*, const char*) noexcept {
  return nullptr;
}

[[noreturn]] void refuse(const std::string& id, const fs::path& file, const std::string& reason) {
  throw Error(ExitCode::plugin_refused,
              fmt::format("[plugin] plugin '{}' (file {}): refused: {}", id, file.string(), reason));
}

// dlopen's own words, with the mangled name of a missing symbol made readable.
std::string readable(const std::string& text) {
  constexpr std::string_view kMark = "undefined symbol: ";
  const std::size_t at = text.find(kMark);
  if (at == std::string::npos) return "it cannot be loaded: " + text;
  std::string symbol = text.substr(at + kMark.size());
  symbol = symbol.substr(0, symbol.find_first_of(" ,:;)]\n"));
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> demangled(
      abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status), &std::free);
  return fmt::format(
      "it needs the symbol '{}', which no library that it names in DT_NEEDED has; link it with -Wl,-z,defs "
      "to find "
      "the missing library, and rebuild against this SDK",
      status == 0 ? demangled.get() : symbol.c_str());
}

// Two different files of one of these in a process mean two sets of globals: streams, allocators and types of
// one are garbage to the other.
std::string find_double_libraries() {
  struct Found {
    std::map<std::string, fs::path> first;
    std::string problem;
  } found;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        auto& result = *static_cast<Found*>(data);
        const fs::path file = info->dlpi_name == nullptr ? "" : info->dlpi_name;
        const std::string name = file.filename().string();
        for (const std::string_view library : {"libc10", "libtorch_cpu", "libcudart"}) {
          // libc10.so, libcudart-1a2b3c.so.13, but not libc10_cuda.so
          if (!name.starts_with(library) || (name[library.size()] != '.' && name[library.size()] != '-'))
            continue;
          const auto [at, inserted] = result.first.emplace(library, file);
          std::error_code ec;
          if (!inserted && !fs::equivalent(at->second, file, ec)) {
            result.problem = fmt::format(
                "it brought a second {} into the process: {} beside {}; link it against the engine's own",
                library, file.string(), at->second.string());
          }
        }
        return 0;
      },
      &found);
  return found.problem;
}

// Smallest table that makes sense: everything up to and including `destroy`.
constexpr std::uint32_t kMinTable = offsetof(TetradPluginV1, close);

std::string check_table(const TetradPluginV1& table, const Metadata& metadata) {
  if (table.version == 0 || table.version > kPluginAbi) {
    return fmt::format("its plugin table has version {}, this host knows 1 to {}", table.version, kPluginAbi);
  }
  if (table.struct_size < kMinTable || table.struct_size > sizeof(TetradPluginV1)) {
    return fmt::format("its plugin table is {} bytes long, expected {} to {}", table.struct_size, kMinTable,
                       sizeof(TetradPluginV1));
  }
  if (table.id == nullptr || table.plugin_version == nullptr || table.create == nullptr ||
      table.destroy == nullptr) {
    return "its plugin table has a null entry";
  }
  if (metadata.id != table.id)
    return fmt::format("it calls itself '{}', its metadata says '{}'", table.id, metadata.id);
  if (metadata.version != table.plugin_version) {
    return fmt::format("it says version {}, its metadata says {}", table.plugin_version, metadata.version);
  }
  return {};
}

void require_up(const LoaderState& loader) {
  if (loader.down) throw Error("[plugin] plugins were shut down; nothing can be loaded or made any more");
  if (!loader.poisoned.empty()) {
    throw Error(ExitCode::plugin_refused, fmt::format("[plugin] a static initialiser of plugin '{}' threw; "
                                                      "nothing more can be loaded into this process",
                                                      loader.poisoned));
  }
}

}  // namespace

std::unique_ptr<Plugin> LoaderState::open(const fs::path& file, Entry& entry) {
  const Candidate candidate = judge_file(file, PlaceClass::explicit_path);
  if (!candidate.refusal.empty())
    throw Error(ExitCode::plugin_refused, "[plugin] " + candidate.describe_refusal());
  std::unique_ptr<Plugin> plugin(new Plugin);
  plugin->file_ = candidate.file;
  plugin->metadata_ = *candidate.metadata;
  plugin->build_id_ = candidate.build_id;
  const std::string& id = plugin->metadata_.id;
  try {
    const Breadcrumb crumb(id.c_str(), "static initialisation");
    // The throwing overload: the one with an error_code loses dlopen's text.
    namespace mode = boost::dll::load_mode;
    entry.library.load(candidate.file,
                       mode::rtld_now | mode::rtld_local | static_cast<mode::type>(RTLD_NODELETE));
  } catch (const boost::dll::fs::system_error& e) {
    refuse(id, candidate.file, readable(e.what()));
  } catch (const std::exception& e) {
    poisoned = id;
    refuse(
        id, candidate.file,
        fmt::format("one of its static initialisers threw: {}; do that work in the constructor of its class",
                    e.what()));
  }
  const auto refuse_loaded = [&](const std::string& reason) {
    entry.failure = reason;
    refuse(id, candidate.file, reason);
  };
  if (const std::string problem = find_double_libraries(); !problem.empty()) refuse_loaded(problem);
  if (!entry.library.has(kPluginEntry)) {
    refuse_loaded(fmt::format("it does not export '{}'; write one TETRAD_PLUGIN(...) line in its sources",
                              kPluginEntry));
  }
  const auto entry_function = entry.library.get<std::remove_pointer_t<TetradPluginEntryV1>>(kPluginEntry);
  plugin->table_.struct_size = sizeof(TetradPluginV1);
  plugin->table_.version = kPluginAbi;
  Status status;
  {
    const Breadcrumb crumb(id.c_str(), kPluginEntry);
    entry_function(&host, &plugin->table_, &status);
  }
  if (!status.ok()) refuse_loaded("its start failed: " + status.message);
  if (const std::string problem = check_table(plugin->table_, plugin->metadata_); !problem.empty())
    refuse_loaded(problem);
  return plugin;
}

Plugin& LoaderState::load(const fs::path& file) {
  const std::lock_guard lock(mutex);
  require_up(*this);
  if (host.struct_size == 0) host = {sizeof(TetradHostV1), kPluginAbi, this, host_log, host_extension};
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0) {
    throw Error(ExitCode::plugin_refused,
                "[plugin] " + judge_file(file, PlaceClass::explicit_path).describe_refusal());
  }
  const std::pair<std::uint64_t, std::uint64_t> identity(info.st_dev, info.st_ino);
  Entry& entry = by_inode[identity];
  if (entry.plugin) return *entry.plugin;
  if (!entry.failure.empty()) refuse(file.stem().string(), file, entry.failure);
  entry.plugin = open(file, entry);
  order.push_back(entry.plugin.get());
  return *entry.plugin;
}

Plugin& load(const fs::path& file) {
  return state().load(file);
}

Plugin& load_for_device(const fs::path& file, bool cuda) {
  if (!cuda) return load(file);
  const Candidate candidate = judge_file(file, PlaceClass::explicit_path);
  if (!candidate.cuda_file) return load(file);
  if (!candidate.refusal.empty())
    throw Error(ExitCode::plugin_refused, "[plugin] " + candidate.describe_refusal());
  if (!candidate.cuda_refusal.empty()) refuse(candidate.id, *candidate.cuda_file, candidate.cuda_refusal);
  return load(*candidate.cuda_file);
}

void check(const Status& status, const Plugin& plugin, const char* function) {
  const auto fail = [&](const char* what) {
    throw Error(exit_code(status.code), fmt::format("[plugin] plugin '{}' (file {}): {}: {}{}", plugin.id(),
                                                    plugin.file().string(), function, what, status.message));
  };
  switch (status.code) {
    case StatusCode::ok:
      return;
    case StatusCode::invalid_option:
      fail("invalid option: ");
      break;
    case StatusCode::unsupported:
      fail("unsupported: ");
      break;
    case StatusCode::out_of_memory:
      fail("out of memory: ");
      break;
    case StatusCode::device_error:
      fail("device error: ");
      break;
    case StatusCode::numerics:
      fail("numerics: ");
      break;
    case StatusCode::internal:
      fail("");
      break;
  }
  fail("unknown status code: ");
}

namespace detail {

Object* create(Plugin& plugin, std::string_view kind, const Options& options) {
  LoaderState& loader = state();
  const std::lock_guard lock(loader.mutex);
  require_up(loader);
  if (!plugin.metadata().has_kind(kind)) {
    refuse(
        plugin.id(), plugin.file(),
        fmt::format("it is of kind {}, asked for kind {}", fmt::join(plugin.metadata().kinds, ", "), kind));
  }
  const std::string name(kind);
  void* object = nullptr;
  Status status;
  {
    const Breadcrumb crumb(plugin.id().c_str(), "create");
    LoaderState::table(plugin).create(name.c_str(), &options, &object, &status);
  }
  check(status, plugin, ("create " + name).c_str());
  if (object == nullptr)
    throw Error(fmt::format("[plugin] plugin '{}' (file {}): create {}: it gave no object", plugin.id(),
                            plugin.file().string(), name));
  return adopt(plugin, kind, object);
}

Object* adopt(Plugin& plugin, std::string_view kind, void* object) {
  LoaderState& loader = state();
  const std::lock_guard lock(loader.mutex);
  loader.objects.push_back(std::make_unique<Object>(Object{&plugin, std::string(kind), object}));
  return loader.objects.back().get();
}

void* pointer(const Object* object) noexcept {
  return object->object;
}

namespace {
void destroy_now(Object& object) noexcept {
  if (object.object == nullptr) return;
  const Breadcrumb crumb(object.plugin->id().c_str(), "destroy");
  LoaderState::table(*object.plugin).destroy(object.kind.c_str(), std::exchange(object.object, nullptr));
}
}  // namespace

void destroy(Object* object) noexcept {
  LoaderState& loader = state();
  const std::lock_guard lock(loader.mutex);
  destroy_now(*object);
  // After shutdown the record itself is the last thing the handle has.
  const auto at = std::find_if(loader.objects.begin(), loader.objects.end(),
                               [&](const auto& o) { return o.get() == object; });
  if (at != loader.objects.end()) loader.objects.erase(at);
}

}  // namespace detail

void set_log_sink(LogSink sink) {
  LoaderState& loader = state();
  const std::lock_guard lock(loader.log_mutex);
  loader.sink = std::move(sink);
}

void shutdown() noexcept {
  LoaderState& loader = state();
  const std::lock_guard lock(loader.mutex);
  if (loader.down) return;
  loader.down = true;
  for (auto at = loader.objects.rbegin(); at != loader.objects.rend(); ++at) detail::destroy_now(**at);
  for (auto at = loader.order.rbegin(); at != loader.order.rend(); ++at) {
    TetradPluginV1& table = LoaderState::table(**at);
    const bool has_close =
        table.struct_size >= offsetof(TetradPluginV1, close) + sizeof table.close && table.close != nullptr;
    if (!has_close) continue;
    const Breadcrumb crumb((*at)->id().c_str(), "close");
    table.close();
  }
}

}  // namespace tetrad::plugin
