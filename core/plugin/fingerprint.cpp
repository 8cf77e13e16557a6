#include "plugin/fingerprint.h"

#include <fmt/format.h>
#include <tetrad/base/compiled_facts.h>

namespace tetrad::plugin {
namespace {

using nlohmann::json;

#define TETRAD_HOST_NUMBER(key, value, comma) "\"" key "\":" TETRAD_FACT_STRING(value) comma
#define TETRAD_HOST_TEXT(key, value, comma) "\"" key "\":\"" value "\"" comma
constexpr const char* kHostFacts = "{" TETRAD_COMPILED_FACTS(TETRAD_HOST_NUMBER, TETRAD_HOST_TEXT) "}";

struct Field {
  const char* key;
  const char* label;
};

// Any difference in one of these is undefined behaviour sooner or later.
constexpr Field kHardFields[] = {
    {"machine", "machine"},
    {"pointer_bits", "pointer bits"},
    {"cxx_library", "C++ library"},
    {"cxx_library_debug", "_GLIBCXX_DEBUG"},
    {"cxx11_abi", "_GLIBCXX_USE_CXX11_ABI"},
    {"exceptions", "C++ exceptions"},
    {"rtti", "C++ RTTI"},
    {"asan", "AddressSanitizer"},
    {"tsan", "ThreadSanitizer"},
    {"interface_hash", "SDK interface hash"},
};

std::string shown(const json& value) {
  if (!value.is_string()) return value.dump();
  const std::string text = value.get<std::string>();
  return text.size() == 64 ? text.substr(0, 12) : text;  // a hash is told apart by its start
}

std::string major_of(const std::string& version) {
  return version.substr(0, version.find('.'));
}

std::string different(const char* label, const json& plugin, const json& host) {
  return fmt::format("{} {} != host {}; rebuild against this SDK", label, shown(plugin), shown(host));
}

json optional_text(const char* text) {
  return *text == '\0' ? json(nullptr) : json(text);
}

}  // namespace

const Fingerprint& host_fingerprint() {
  static const Fingerprint fingerprint = [] {
    json fields = json::parse(kHostFacts);
    fields["interface_hash"] = TETRAD_HOST_INTERFACE_HASH;
    fields["torch_version"] = optional_text(TETRAD_HOST_TORCH_VERSION);
    fields["cuda"] =
        *TETRAD_HOST_CUDA_VERSION == '\0' ? json(nullptr) : json{{"version", TETRAD_HOST_CUDA_VERSION}};
    fields["build_type"] = TETRAD_HOST_BUILD_TYPE;
    fields["sanitizers"] = TETRAD_HOST_SANITIZERS;
    return Fingerprint{std::move(fields)};
  }();
  return fingerprint;
}

Comparison compare(const Fingerprint& plugin, const Fingerprint& host) {
  Comparison result;
  const json& p = plugin.fields;
  const json& h = host.fields;
  for (const Field& field : kHardFields) {
    if (p.at(field.key) != h.at(field.key)) {
      result.refusal = different(field.label, p.at(field.key), h.at(field.key));
      return result;
    }
  }
  if (!p.at("torch_version").is_null()) {
    if (h.at("torch_version").is_null()) {
      result.refusal = fmt::format(
          "it needs libtorch {}, and this host was built without an engine; build with TETRAD_ENGINE=ON",
          shown(p.at("torch_version")));
      return result;
    }
    if (p.at("torch_version") != h.at("torch_version")) {
      result.refusal = different("libtorch", p.at("torch_version"), h.at("torch_version"));
      return result;
    }
  }
  if (p.at("cuda").is_object()) {
    const std::string cuda = p["cuda"].at("version").get<std::string>();
    if (!h.at("cuda").is_object()) {
      result.refusal = fmt::format(
          "it needs CUDA {}, and this host was built without CUDA; build with TETRAD_CUDA=ON", cuda);
      return result;
    }
    const std::string host_cuda = h["cuda"].at("version").get<std::string>();
    if (major_of(cuda) != major_of(host_cuda)) {
      result.refusal = different("CUDA", cuda, host_cuda);
      return result;
    }
  }
  if (p.at("compiler") != h.at("compiler") || p.at("compiler_major") != h.at("compiler_major")) {
    result.warnings.push_back(fmt::format("built by {} {}, the host by {} {}", shown(p["compiler"]),
                                          shown(p["compiler_major"]), shown(h["compiler"]),
                                          shown(h["compiler_major"])));
  }
  if (p.at("cxx_library_release") != h.at("cxx_library_release")) {
    result.warnings.push_back(fmt::format("built with {} release {}, the host with {}",
                                          shown(p["cxx_library"]), shown(p["cxx_library_release"]),
                                          shown(h["cxx_library_release"])));
  }
  if (p.at("cxx_abi") != h.at("cxx_abi")) {
    result.warnings.push_back(
        fmt::format("C++ ABI version {}, the host's is {}", shown(p["cxx_abi"]), shown(h["cxx_abi"])));
  }
  return result;
}

}  // namespace tetrad::plugin
