// What tokens are in text, as far as the files of a comparison say it: {"text": "..."} or, for tokens that
// are parts of a character, {"bytes": "e4bd"}; null for tokens that no file shows.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <unordered_map>

namespace tetrad::parity {

class Pieces {
 public:
  // Parallel lists of ids and pieces (objects, or plain texts); lists of unequal length teach nothing.
  void learn(const nlohmann::json& ids, const nlohmann::json& pieces);
  // A list of {"id", "piece", ...}.
  void learn_top(const nlohmann::json& top);

  nlohmann::json piece(std::int64_t id) const;
  // {"id", "piece"}
  nlohmann::json token(std::int64_t id) const;

 private:
  std::unordered_map<std::int64_t, nlohmann::json> known_;
};

// {"turn", "kind"} of the segment that holds script position `at`; nulls beyond the script.
nlohmann::json place_in_script(const nlohmann::json& script, std::int64_t at);

// Where two greedy conversations part: {"turn", "token", "reference": token | null, "own": token | null}; a
// token that is null: that answer had ended. null where they are equal.
nlohmann::json text_divergence(const nlohmann::json& reference, const nlohmann::json& own,
                               const Pieces& pieces);

}  // namespace tetrad::parity
