// The byte stream between launcher and engine, in pieces of varying size. What was accepted has the same
// meaning after it was sent on.
#include "cli/protocol/frame.h"
#include "cli/protocol/messages.h"
#include "fuzz.h"

#include <algorithm>

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tetrad;
  fuzz::accepts([&] {
    cli::FrameDecoder decoder(std::size_t{1} << 20);
    std::string_view rest = fuzz::view(data, size);
    for (std::size_t piece = 1; !rest.empty(); piece = piece * 3 % 61 + 1) {
      decoder.append(rest.substr(0, piece));
      rest.remove_prefix(std::min(piece, rest.size()));
      while (const auto payload = decoder.next()) {
        const cli::Message message = cli::parse_message(cli::parse_payload(*payload));
        const nlohmann::json sent = std::visit([](const auto& m) { return cli::to_json(m); }, message);
        const cli::Message again = cli::parse_message(cli::parse_payload(sent.dump()));
        fuzz::require(std::visit([](const auto& m) { return cli::to_json(m); }, again) == sent,
                      "a message changes when it is sent on");
      }
    }
  });
  return 0;
}
