// Training data: the first byte chooses format and settings, the rest is the file. What was accepted has
// spans inside its examples and gives batches that keep Batch's rules.
#include <memory>

#include "fuzz.h"
#include "support/tiny_model.h"
#include "text/tokenizer.h"
#include "text/turn_format.h"
#include "train/data/loader.h"

namespace {

using namespace tetrad;

void check(const train::Dataset& data, std::int64_t width) {
  std::int64_t scored = 0;
  for (std::size_t i = 0; i < data.size(); ++i) {
    const auto example = data.example(i);
    fuzz::require(example.ids.size() >= 2 && static_cast<std::int64_t>(example.ids.size()) - 1 <= width,
                  "an example that no row holds");
    std::int32_t end = 1;
    for (const auto& span : example.learn) {
      fuzz::require(span.begin >= end && span.end > span.begin, "spans that overlap or are empty");
      end = span.end;
      scored += span.end - span.begin;
    }
    fuzz::require(static_cast<std::size_t>(end) == example.ids.size(), "an example that ends unlearned");
  }
  fuzz::require(scored == data.report().scored && scored > 0, "a report that counts otherwise");
  fuzz::require_printable(data.report().text());
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto tokenizer = text::Tokenizer::parse(test::tiny_tokenizer(), "tokenizer.json");
  static const auto turns =
      text::TurnFormat::derive(text::ChatTemplate(test::chatml_template, "chat"), tokenizer);
  if (size == 0) return 0;
  const unsigned choice = data[0];
  train::DatasetSettings settings;
  settings.file = "data";
  settings.format = choice % 3 == 0   ? train::DataFormat::tsv
                    : choice % 3 == 1 ? train::DataFormat::chat
                                      : train::DataFormat::text;
  settings.on_bad_line = (choice & 4) != 0 ? train::OnBadLine::stop : train::OnBadLine::skip;
  settings.too_long = (choice & 8) != 0 ? train::TooLong::skip : train::TooLong::cut;
  settings.learn_prompts = (choice & 16) != 0;
  settings.width = (choice & 32) != 0 ? 40 : 200;
  fuzz::accepts([&] {
    const auto set = std::make_shared<train::Dataset>(
        train::Dataset::parse(fuzz::view(data + 1, size - 1), settings, turns, tokenizer));
    check(*set, settings.width);
    train::BatchLoader loader({{set, 1}}, {.rows = 2,
                                           .width = settings.width,
                                           .pack = (choice & 64) != 0,
                                           .passes = train::Passes::one,
                                           .seed = choice});
    std::int64_t examples = 0, scored = 0;
    while (const auto batch = loader.next()) {
      examples += batch->examples;
      scored += batch->scored;
      fuzz::require(batch->ids.size() == static_cast<std::size_t>(batch->rows * batch->width),
                    "a torn batch");
    }
    fuzz::require(examples == set->report().examples && scored == set->report().scored, "examples were lost");
  });
  return 0;
}
