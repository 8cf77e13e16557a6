#include "parity/compare/pieces.h"

#include "parity/fields.h"

#include <algorithm>

namespace tetrad::parity {

using nlohmann::json;

namespace {

// The one form of a piece; null for anything else.
json normal(const json& piece) {
  if (piece.is_string()) return {{"text", piece}};
  if (piece.is_object() && at(piece, "text").is_string()) return {{"text", at(piece, "text")}};
  if (piece.is_object() && at(piece, "bytes").is_string()) return {{"bytes", at(piece, "bytes")}};
  return {};
}

json id_at(const json& ids, std::size_t i) {
  return ids.is_array() && i < ids.size() && ids[i].is_number_integer() ? ids[i] : json();
}

}  // namespace

void Pieces::learn(const json& ids, const json& pieces) {
  if (!ids.is_array() || !pieces.is_array() || ids.size() != pieces.size()) return;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (!ids[i].is_number_integer()) continue;
    if (json piece = normal(pieces[i]); !piece.is_null()) {
      known_.emplace(ids[i].get<std::int64_t>(), std::move(piece));
    }
  }
}

void Pieces::learn_top(const json& top) {
  if (!top.is_array()) return;
  for (const json& one : top) {
    const json& id = at(one, "id");
    if (!id.is_number_integer()) continue;
    if (json piece = normal(at(one, "piece")); !piece.is_null()) {
      known_.emplace(id.get<std::int64_t>(), std::move(piece));
    }
  }
}

json Pieces::piece(std::int64_t id) const {
  const auto found = known_.find(id);
  return found == known_.end() ? json() : found->second;
}

json Pieces::token(std::int64_t id) const {
  return {{"id", id}, {"piece", piece(id)}};
}

json place_in_script(const json& script, std::int64_t position) {
  const json& segments = at(script, "segments");
  if (segments.is_array()) {
    for (const json& segment : segments) {
      const double p = static_cast<double>(position);
      if (p >= number(segment, "begin").value_or(0) && p < number(segment, "end").value_or(0)) {
        return {{"turn", at(segment, "turn")}, {"kind", at(segment, "kind")}};
      }
    }
  }
  return {{"turn", nullptr}, {"kind", nullptr}};
}

json text_divergence(const json& reference, const json& own, const Pieces& pieces) {
  const std::size_t turns =
      std::max(reference.is_array() ? reference.size() : 0, own.is_array() ? own.size() : 0);
  for (std::size_t turn = 0; turn < turns; ++turn) {
    const json none;
    const json& a = reference.is_array() && turn < reference.size() ? at(reference[turn], "ids") : none;
    const json& b = own.is_array() && turn < own.size() ? at(own[turn], "ids") : none;
    const std::size_t tokens = std::max(a.is_array() ? a.size() : 0, b.is_array() ? b.size() : 0);
    for (std::size_t i = 0; i < tokens; ++i) {
      const json r = id_at(a, i);
      const json o = id_at(b, i);
      if (r == o) continue;
      const auto token = [&](const json& id) {
        return id.is_null() ? json() : pieces.token(id.get<std::int64_t>());
      };
      return {{"turn", turn + 1}, {"token", i}, {"reference", token(r)}, {"own", token(o)}};
    }
  }
  return {};
}

}  // namespace tetrad::parity
