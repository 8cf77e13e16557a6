// A run's YAML config, alone and through the schema. What was accepted comes back the same from its own YAML.
#include "config/compose.h"
#include "config/emit.h"
#include "config/environment.h"
#include "config/schema.h"
#include "config/validate.h"
#include "config/yaml_reader.h"
#include "fuzz.h"

#include <array>

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tetrad;
  static const fuzz::MemoryFile memory;
  static const std::array<std::string, 1> files = {memory.path().string()};
  // Most inputs end here; what follows reads the text again, checks it against the schema, and takes far
  // longer.
  config::Diagnostics problems;
  config::read_yaml(fuzz::view(data, size), {}, problems);
  for (const config::Diagnostic& problem : problems.errors()) fuzz::require_printable(problem.to_string());
  if (problems.has_errors()) return 0;
  memory.assign(data, size);
  const auto lookup = [](const std::string& name) -> std::optional<std::string> {
    if (name == "WORD") return "word";
    return std::nullopt;
  };
  fuzz::accepts([&] {
    const config::Resolved resolved = config::validate(config::compose(files, {}, {lookup, "/"}), {});
    const std::string yaml = config::to_yaml(resolved.root);
    config::Diagnostics diagnostics;
    // As compose reads it: a literal ${ is written as $${.
    const config::Node again =
        config::substitute_environment(config::read_yaml(yaml, {}, diagnostics), lookup, diagnostics);
    fuzz::require(!diagnostics.has_errors(), "the emitted YAML cannot be read");
    fuzz::require(config::config_hash(again) == config::config_hash(resolved.root),
                  "the emitted YAML differs");
  });
  return 0;
}
