// What a plugin author includes: one class per kind and one line.
//
//   class MyLinear final : public tetrad::LinearBackend {
//    public:
//     explicit MyLinear(const tetrad::Options& options);   // or no constructor argument at all
//     ...
//   };
//   TETRAD_PLUGIN(tetrad::Provides<"linear", tetrad::LinearBackend, MyLinear>);
//
// The line goes into exactly one source file of the plugin. tetrad_add_plugin() (cmake/TetradPlugin.cmake)
// supplies id and version out of plugin.json. Constructors may throw: what they throw becomes a Status that
// the host reports with the plugin's name (StatusError chooses the code). Destructors must not throw.
#pragma once

#include <tetrad/base/plugin_abi.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

namespace tetrad {

// A string literal as a template argument.
template <std::size_t N>
struct KindName {
  char text[N] = {};
  constexpr KindName(const char (&literal)[N]) {
    std::copy_n(literal, N, text);
  }  // NOLINT: implicit on purpose
  constexpr std::string_view view() const noexcept { return {text, N - 1}; }
};

// "This plugin offers `Kind`, whose interface is Interface, with the class Implementation."
template <KindName Kind, class Interface, class Implementation>
requires std::derived_from<Implementation, Interface>
struct Provides {
  static_assert(std::has_virtual_destructor_v<Interface>,
                "the host destroys objects through their interface");
  static_assert(std::constructible_from<Implementation, const Options&> ||
                    std::default_initializable<Implementation>,
                "a plugin class is made from `const tetrad::Options&` or from nothing");

  static constexpr std::string_view kind() noexcept { return Kind.view(); }

  static void* create(const Options& options) {
    Interface* object = nullptr;
    if constexpr (std::constructible_from<Implementation, const Options&>) {
      object = new Implementation(options);
    } else {
      object = new Implementation();
    }
    return object;
  }
  static void destroy(void* object) noexcept { delete static_cast<Interface*>(object); }
};

namespace plugin_detail {

// One per shared library: hidden, so that two plugins never share it.
[[gnu::visibility("hidden")]] inline const TetradHostV1* host = nullptr;
[[gnu::visibility("hidden")]] inline const char* id = "";

}  // namespace plugin_detail

// Writes one line to the host's log, tagged with the plugin's id. Any thread; a no-op before the entry has
// run.
inline void plugin_log(LogLevel level, const std::string& text) noexcept {
  if (plugin_detail::host == nullptr) return;
  plugin_detail::host->log(plugin_detail::host->context, static_cast<std::int32_t>(level), plugin_detail::id,
                           text.c_str());
}

// A host service by name, e.g. "tetrad.allocator/1"; null when this host does not have it.
inline const void* plugin_extension(const char* name) noexcept {
  if (plugin_detail::host == nullptr) return nullptr;
  return plugin_detail::host->get_extension(plugin_detail::host->context, name);
}

// Body of the entry function; see TETRAD_PLUGIN.
template <class... Offers>
void plugin_main(const TetradHostV1* host, TetradPluginV1* plugin, Status* status, const char* id,
                 const char* version) noexcept {
  if (host->struct_size < sizeof(TetradHostV1) || plugin->struct_size < sizeof(TetradPluginV1)) {
    *status = guarded([] {
      throw StatusError(
          StatusCode::unsupported,
          "the host's tables are smaller than this plugin needs: it was built against a newer SDK");
    });
    return;
  }
  plugin_detail::host = host;
  plugin_detail::id = id;
  plugin->struct_size = sizeof(TetradPluginV1);
  plugin->version = std::min(plugin->version, kPluginAbi);
  plugin->id = id;
  plugin->plugin_version = version;
  plugin->create = [](const char* kind, const Options* options, void** object, Status* out) noexcept {
    *out = guarded([&] {
      const std::string_view wanted = kind;
      const bool found = ((Offers::kind() == wanted && (*object = Offers::create(*options), true)) || ...);
      if (!found) throw StatusError(StatusCode::unsupported, "it has no kind '" + std::string(wanted) + "'");
    });
  };
  plugin->destroy = [](const char* kind, void* object) noexcept {
    const std::string_view wanted = kind;
    (void)((Offers::kind() == wanted && (Offers::destroy(object), true)) || ...);
  };
  plugin->close = nullptr;
  *status = Status{};
}

}  // namespace tetrad

// Defines the plugin's one exported function. Arguments: one tetrad::Provides<...> per kind.
#define TETRAD_PLUGIN(...)                                                                                   \
  extern "C" void tetrad::tetrad_plugin_v1(const tetrad::TetradHostV1* host, tetrad::TetradPluginV1* plugin, \
                                           tetrad::Status* status) noexcept {                                \
    tetrad::plugin_main<__VA_ARGS__>(host, plugin, status, TETRAD_PLUGIN_ID, TETRAD_PLUGIN_VERSION);         \
  }                                                                                                          \
  static_assert(true, "a semicolon follows TETRAD_PLUGIN(...)")
