// tokenizer.json. What was accepted encodes any text and decodes what it encoded.
#include "fuzz.h"
#include "text/incremental_decoder.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tetrad;
  fuzz::accepts([&] {
    const auto tokenizer = text::Tokenizer::parse(fuzz::view(data, size), "tokenizer.json");
    for (const std::string_view sample :
         {"Hello, world! 123", " \n\t  x", "\xE4\xBD\xA0\xE5\xA5\xBD e\xCC\x81 \xF0\x9F\x99\x82",
          "<s><|end|>", ""}) {
      // A regex that backtracks without end is refused here, when the matcher's limit is reached.
      std::vector<std::int32_t> ids;
      if (!fuzz::accepts([&] { ids = tokenizer.encode(sample, true, true); })) continue;
      text::IncrementalDecoder decoder(tokenizer);
      for (const std::int32_t id : ids) {
        fuzz::require(id >= 0 && id < tokenizer.vocab_size(), "an id outside the vocabulary");
        fuzz::require(!text::validate_utf8(decoder.feed(id)), "half a character was printed");
      }
      decoder.finish();
      tokenizer.decode(ids);
    }
  });
  return 0;
}
