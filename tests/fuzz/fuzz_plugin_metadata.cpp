// The JSON text of a plugin's note. What was accepted answers for its kinds and reads back.
#include "config/option_schema.h"
#include "fuzz.h"
#include "plugin/metadata.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tetrad;
  fuzz::accepts([&] {
    const plugin::Metadata metadata = plugin::parse_metadata(std::string(fuzz::view(data, size)));
    for (const std::string& kind : metadata.kinds)
      config::option_schema_from_json(kind, metadata.id, metadata.options_for(kind));
    nlohmann::json again = metadata.to_json();
    again["note"] = 1;
    fuzz::require(plugin::parse_metadata(again.dump()).to_json() == metadata.to_json(),
                  "metadata changes on its way");
  });
  return 0;
}
