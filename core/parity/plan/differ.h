// In which keys of the resolved config an arm differs from the reference arm, and which of them the
// comparison is about. Keys that cannot change a result of a comparison (limits of the guard, where records
// go, how an answer is sampled: arms answer greedily) are left out.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace tetrad::parity {

struct Difference {
  std::string key;      // dotted
  nlohmann::json a, b;  // in the reference arm and in this one; null also where a side has no such key
  bool swept = false;   // the comparison is about it
};

struct Subject {
  std::vector<std::string> swept;  // keys of the sweep
  // Several config files are the arms: then the numerics (path, linear, kv_cache, optimizer, dtype, device,
  // feed) are what the comparison is about.
  bool several_configs = false;
};

// `reference` and `arm`: resolved configs. In schema order as nlohmann sorts it: by name.
std::vector<Difference> differing_keys(const nlohmann::json& reference, const nlohmann::json& arm,
                                       const Subject& subject);

}  // namespace tetrad::parity
