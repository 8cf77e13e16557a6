// Loads plugins into this process and makes their objects. load() repeats every check of the registry on the
// file, then opens it through Boost.DLL (all symbols bound at once, none of them made global, never
// unloaded), checks that no second libtorch or CUDA runtime came with it, and negotiates the tables of
// plugin_abi.h. Everything that fails is an Error(plugin_refused) naming plugin, file and reason; whatever a
// plugin answers with a Status becomes an Error naming the plugin and the function (status_error).
//
// A static initialiser of a plugin that throws does so inside dlopen. Where the C library lets the exception
// through, it becomes an Error like the others, but the dynamic loader's lock stays taken, so every later
// load() and create() fails too: end the process. Where it does not, std::terminate is called, and the crash
// handler of breadcrumb.h names the plugin and "static initialisation".
//
// Loaded plugins live in a list that is leaked on purpose; shutdown() destroys the objects that are left,
// newest first, and calls each plugin's close, latest first. Call it before main() returns. All functions may
// be called from any thread; they are serialised.
#pragma once

#include <tetrad/base/options.h>
#include <tetrad/base/plugin_abi.h>
#include <tetrad/base/status.h>

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "plugin/breadcrumb.h"
#include "plugin/metadata.h"

namespace tetrad::plugin {

class Plugin {
 public:
  const std::string& id() const noexcept { return metadata_.id; }
  const std::string& version() const noexcept { return metadata_.version; }
  const std::filesystem::path& file() const noexcept { return file_; }
  const Metadata& metadata() const noexcept { return metadata_; }
  const std::string& build_id() const noexcept { return build_id_; }

 private:
  friend struct LoaderState;
  Plugin() = default;
  std::filesystem::path file_;
  Metadata metadata_;
  std::string build_id_;
  TetradPluginV1 table_{};
};

// Loads `file`, or returns the Plugin that was made from it before.
Plugin& load(const std::filesystem::path& file);
// For a CUDA device: loads the plugin's <id>.cuda.so where it has one, else `file` itself.
Plugin& load_for_device(const std::filesystem::path& file, bool cuda);

// Throws the Error that a failed Status of `function` stands for, naming the plugin:
// invalid_option -> usage, unsupported -> plugin_refused, numerics -> numerics, the rest -> runtime.
void check(const Status& status, const Plugin& plugin, const char* function);

namespace detail {
struct Object;  // one live object of a plugin; owned by the leaked list
Object* create(Plugin& plugin, std::string_view kind, const Options& options);
Object* adopt(Plugin& plugin, std::string_view kind, void* object);
void* pointer(const Object* object) noexcept;  // null after shutdown()
void destroy(Object* object) noexcept;
}  // namespace detail

// Owner of one plugin object with interface T. After shutdown() get() is null.
template <class T>
class Handle {
 public:
  Handle() = default;
  explicit Handle(detail::Object* object) noexcept : object_(object) {}
  Handle(Handle&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    if (this != &other) {
      reset();
      object_ = std::exchange(other.object_, nullptr);
    }
    return *this;
  }
  ~Handle() { reset(); }

  T* get() const noexcept { return object_ == nullptr ? nullptr : static_cast<T*>(detail::pointer(object_)); }
  T* operator->() const noexcept { return get(); }
  T& operator*() const noexcept { return *get(); }
  explicit operator bool() const noexcept { return get() != nullptr; }
  void reset() noexcept {
    if (object_ != nullptr) detail::destroy(std::exchange(object_, nullptr));
  }

 private:
  detail::Object* object_ = nullptr;
};

// A new object of `kind`; T must be that kind's interface. Throws when the plugin has no such kind or its
// create fails.
template <class T>
Handle<T> create(Plugin& plugin, std::string_view kind, const Options& options) {
  return Handle<T>(detail::create(plugin, kind, options));
}

// Takes over an object that a method of the plugin made (KvPolicy::fork).
template <class T>
Handle<T> adopt(Plugin& plugin, std::string_view kind, T* object) {
  return Handle<T>(detail::adopt(plugin, kind, object));
}

// Receives the log lines of plugins; called from any thread. By default they go to stderr as
// "[plugin backend-x] warning: text", debug lines excepted.
using LogSink = std::function<void(LogLevel level, std::string_view plugin, std::string_view text)>;
void set_log_sink(LogSink sink);

// See above. Afterwards load() and create() fail.
void shutdown() noexcept;

}  // namespace tetrad::plugin
