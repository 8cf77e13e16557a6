// A report with everything in it, hostile text included, for the tests of its forms.
#pragma once

#include "parity/compare/compare.h"
#include "synthetic.h"

namespace tetrad::test {

inline const std::string hostile = "<script>alert(\"x\")</script>'&";

// Four arms: reference, its own arm, one that fails with all that can be said, one that did not run.
inline void fill_rich(SyntheticFolder& folder) {
  const Matrix m = random_matrix(folder.positions(), folder.vocabulary(), 1, 3);
  const auto differs = [](const char* key) {
    return json::array({{{"key", key}, {"a", "training"}, {"b", hostile}, {"swept", true}}});
  };
  folder.add_arm("training");
  folder.add_arm("training 分段餵入", differs("parity.feed"));
  folder.add_arm(hostile, differs("path"));
  folder.add_arm("沒有外掛", differs("linear.plugin"));
  folder.logits(0, m);
  folder.logits(1, with_noise(m, 1e-3F, 2));
  Matrix wrong = with_noise(m, 0.4F, 3);
  folder.logits(2, wrong);
  folder.records[2]["greedy"][0]["ids"] = {4, 3};
  folder.records[2]["greedy"][0]["pieces"] = {{{"text", hostile}}, {{"bytes", "f09f98"}}};
  folder.records[3] = nullptr;
  folder.plan["arms"][3]["error"] = hostile;
  folder.script["text_pieces"][2] = {{"bytes", "e4bd"}};
  folder.script["text_pieces"][3] = {{"text", hostile}};
  folder.script["text_pieces"][4] = {{"text", "\x1b[31m\n\u202E"}};
  std::map<std::string, Matrix> layers;
  for (const char* name : {"-01/00.embedding", "000/00.q", "000/01.out", "001/00.q", "001/01.out"}) {
    layers[name] = random_matrix(4, 24, static_cast<unsigned>(layers.size()));
  }
  folder.layers(0, layers);
  for (auto& [name, tensor] : layers) tensor = with_noise(tensor, 2e-3F, 4);
  folder.layers(1, layers);
  for (auto& [name, tensor] : layers) {
    if (name[2] == '1' && name[0] == '0') tensor = with_noise(tensor, 0.5F, 5);
  }
  folder.layers(2, layers);
  json nll = json::array();
  for (int i = 0; i < 50; ++i) nll.push_back(2 + 0.01 * i);
  for (std::size_t arm : {0U, 1U, 2U}) {
    folder.records[arm]["perplexity"] = {{"value", 10.5}, {"standard_error", 0.4}, {"token_nll", nll}};
  }
}

inline json rich_report() {
  SyntheticFolder folder;
  fill_rich(folder);
  return parity::make_report(folder.write());
}

}  // namespace tetrad::test
