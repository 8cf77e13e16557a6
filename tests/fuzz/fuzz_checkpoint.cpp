// A training checkpoint's manifest, with a valid checksum wherever the bytes are JSON, so that the rules
// behind it are reached. What was accepted reads back the same.
#include <tetrad/base/sha256.h>

#include <nlohmann/json.hpp>

#include "fuzz.h"
#include "train/checkpoint/manifest.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tetrad;
  static const fuzz::MemoryFile file;
  const auto content = nlohmann::json::parse(data, data + size, nullptr, /*allow_exceptions=*/false);
  std::string text(fuzz::view(data, size));
  if (!content.is_discarded()) {
    const auto keep = nlohmann::json::error_handler_t::replace;
    text = nlohmann::json{{"checkpoint", content}, {"sha256", sha256_hex(content.dump(-1, ' ', false, keep))}}
               .dump(-1, ' ', false, keep);
  }
  file.assign(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  fuzz::accepts([&] {
    const train::Manifest manifest = train::read_manifest(file.path());
    for (const auto& group : manifest.groups) {
      fuzz::require(train::is_group_name(group.name), "a file name that leads elsewhere");
      for (const auto& tensor : group.tensors)
        for (const std::int64_t extent : tensor.spec.shape) fuzz::require(extent >= 0, "a negative extent");
    }
    const std::string written = train::manifest_text(manifest);
    file.assign(reinterpret_cast<const std::uint8_t*>(written.data()), written.size());
    fuzz::require(train::manifest_text(train::read_manifest(file.path())) == written,
                  "it reads back otherwise");
  });
  return 0;
}
