#include "parity/report/sentences.h"

#include "parity/fields.h"
#include "parity/report/tokens.h"
#include "parity/report/width.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <optional>

namespace tetrad::parity {

using nlohmann::json;

namespace {

std::string label(const json& arm) {
  return shown(text(arm, "label"));
}

std::string whole(const json& value) {
  return value.is_number() ? fmt::format("{:.0f}", value.get<double>()) : "-";
}

const json& against(const json& arm) {
  return at(arm, "against_reference");
}

std::string tensor_name(const json& where, Language language) {
  const std::string tensor = shown(text(where, "tensor"));
  const auto layer = number(where, "layer");
  if (!layer) return tensor;
  if (*layer < 0) return say(language, "layer.before", tensor);
  return say(language, "layer.at", whole(at(where, "layer")), tensor);
}

std::string layer_numbers(const json& first, Language language) {
  const std::string what = text(first, "what");
  const std::string measured = short_number(number(first, "measured"));
  const std::string allowed = short_number(number(first, "allowed"));
  if (what == "channel") {
    return say(language, "layer.channel", whole(at(first, "worst_channel")), measured, allowed);
  }
  if (what == "position") {
    return say(language, "layer.position", whole(at(first, "worst_position")), measured, allowed);
  }
  if (what == "not_finite") {
    return say(language, "layer.not_finite", whole(at(first, "worst_position")),
               whole(at(first, "worst_channel")));
  }
  return say(language, "layer.error", measured, allowed);
}

// " (turn 1, answer)" of a script position; "" where the script does not say.
std::string place(const json& report, const json& position, Language language) {
  const json& segments = at(report, "script/segments");
  if (!position.is_number() || !segments.is_array()) return {};
  for (const json& segment : segments) {
    const double p = position.get<double>() + 1;  // the token that is predicted there
    if (p < number(segment, "begin").value_or(0) || p >= number(segment, "end").value_or(0)) continue;
    return say(language, "place", whole(at(segment, "turn")),
               word_or(language, "place.", text(segment, "kind")));
  }
  return {};
}

struct Seen {
  std::vector<const json*> compared;  // arms with figures against the reference
  const json* reference = nullptr;
  bool training = false;
};

Seen look(const json& report) {
  Seen seen;
  const auto reference = number(report, "reference").value_or(0);
  const json& arms = at(report, "arms");
  if (!arms.is_array()) return seen;
  for (const json& arm : arms) {
    if (number(arm, "index") == reference) {
      seen.reference = &arm;
    } else if (against(arm).is_object()) {
      seen.compared.push_back(&arm);
      seen.training = seen.training || at(against(arm), "training").is_object();
    }
  }
  return seen;
}

std::string equal_sentence(const json& report, const Seen& seen, Language language) {
  const json& ids = at(report, "script/ids");
  const std::string tokens = fmt::format("{}", ids.is_array() ? ids.size() : 0);
  std::size_t scored = 0;
  std::size_t same = 0;
  std::size_t bits = 0;
  const json* one = nullptr;
  for (const json* arm : seen.compared) {
    const auto share = number(against(*arm), "top1_agreement");
    if (!share && !at(against(*arm), "compared").is_number()) continue;
    ++scored;
    one = arm;
    same += share == 1.0 ? 1 : 0;
    bits += at(against(*arm), "bit_equal") == json(true) ? 1 : 0;
  }
  if (scored == 0 && seen.training) {
    double worst = 0;
    for (const json* arm : seen.compared) {
      worst = std::max(worst, number(against(*arm), "training/first_relative").value_or(0));
    }
    const json& steps = at(against(*seen.compared.front()), "training/steps");
    return say(language, "equal.training", seen.compared.size() + 1, whole(steps), short_number(worst));
  }
  if (scored == 0) return say(language, "equal.nothing", seen.reference ? label(*seen.reference) : "-");
  if (bits == scored) return say(language, "equal.bits_all", scored, tokens);
  if (scored == 1) {
    return say(language, "equal.top1_one", tokens, label(*one), whole(at(against(*one), "agreeing")),
               whole(at(against(*one), "compared")));
  }
  return say(language, "equal.top1_many", tokens, same, scored, bits);
}

// The arm where `pointer` is the least number; those that fail come before those that pass.
template <class Value>
const json* least(const std::vector<const json*>& arms, Value value) {
  const json* best = nullptr;
  std::optional<double> least;
  const auto fails = [](const json& arm) { return text(arm, "verdict/word") != "pass"; };
  for (const json* arm : arms) {
    const std::optional<double> own = value(*arm);
    if (!own) continue;
    if (best == nullptr || (fails(*arm) && !fails(*best)) || (fails(*arm) == fails(*best) && *own < *least)) {
      best = arm;
      least = own;
    }
  }
  return best;
}

std::string training_difference(const Seen& seen, Language language) {
  const json* arm = least(seen.compared, [](const json& a) -> std::optional<double> {
    const auto value = number(against(a), "training/max_relative");
    return value ? std::optional(-*value) : std::nullopt;
  });
  if (arm == nullptr) return std::string(word(language, "differs.nothing"));
  const json& training = at(against(*arm), "training");
  std::string update;
  const json* worst = nullptr;
  for (const json& one : at(training, "updates")) {
    const double error = number(one, "error").value_or(HUGE_VAL);
    if (error > 0 && (worst == nullptr || error > number(*worst, "error").value_or(HUGE_VAL))) worst = &one;
  }
  if (worst != nullptr) {
    update =
        say(language, "differs.update", shown(text(*worst, "tensor")), short_number(number(*worst, "error")));
  }
  if (number(training, "max_relative") == 0.0 && update.empty())
    return std::string(word(language, "differs.nothing"));
  return say(language, "differs.training", short_number(number(training, "max_relative")),
             whole(at(training, "max_step")), label(*arm), update);
}

std::string difference_sentence(const json& report, const Seen& seen, Language language) {
  if (const json* arm = least(seen.compared, [](const json& a) -> std::optional<double> {
        if (number(against(a), "not_finite/own").value_or(0) == 0) return std::nullopt;
        return number(against(a), "not_finite/first");
      })) {
    const json& position = at(against(*arm), "not_finite/first");
    return say(language, "differs.not_finite", label(*arm), whole(position),
               place(report, position, language));
  }
  std::string sentence;
  const json* layer_arm = least(seen.compared, [](const json& a) -> std::optional<double> {
    return number(against(a), "first_layer_beyond/layer");
  });
  if (layer_arm != nullptr) {
    const json& first = at(against(*layer_arm), "first_layer_beyond");
    sentence = say(language, "differs.layer", label(*layer_arm), tensor_name(first, language),
                   layer_numbers(first, language));
  }
  if (seen.training) return training_difference(seen, language);
  if (!sentence.empty()) return sentence;
  if (const json* arm = least(seen.compared, [](const json& a) -> std::optional<double> {
        return number(against(a), "first_divergence/position");
      })) {
    const json& first = at(against(*arm), "first_divergence");
    return say(language, "differs.token", whole(at(first, "position")),
               place(report, at(first, "position"), language), token_text(at(first, "reference")),
               label(*arm), token_text(at(first, "own")));
  }
  const json* arm = least(seen.compared, [](const json& a) -> std::optional<double> {
    const auto kl = number(against(a), "kl_max");
    return kl && at(against(a), "bit_equal") != json(true) ? std::optional(-*kl) : std::nullopt;
  });
  if (arm == nullptr) return std::string(word(language, "differs.nothing"));
  const json& position = at(against(*arm), "kl_max_position");
  return say(language, "differs.kl", short_number(number(against(*arm), "kl_max")), whole(position),
             place(report, position, language), label(*arm));
}

// The check that came closest to its limit.
std::string closest(const Seen& seen, Language language) {
  const json* found = nullptr;
  const json* whose = nullptr;
  double share = 0;
  for (const json* arm : seen.compared) {
    for (const json& check : at(*arm, "checks")) {
      const auto measured = number(check, "measured");
      const auto allowed = number(check, "allowed");
      if (!measured || !allowed || *allowed <= 0 || text(check, "figure") == "top1") continue;
      if (*measured / *allowed <= share) continue;
      share = *measured / *allowed;
      found = &check;
      whose = arm;
    }
  }
  if (found == nullptr) return {};
  return say(language, "allowed.closest", word_or(language, "figure.", text(*found, "figure")), label(*whose),
             short_number(number(*found, "measured")), short_number(number(*found, "allowed")),
             word_or(language, "source.", text(*found, "source")));
}

std::string verdict_sentence(const json& report, const Seen& seen, Language language) {
  const std::string overall = text(report, "verdict/word");
  const json* culprit = nullptr;
  std::size_t more = 0;
  for (const json& arm : at(report, "arms")) {
    const std::string own = text(arm, "verdict/word");
    const bool counts = overall == "not_comparable" ? own == overall : own == "fail" || own == "failed";
    if (!counts) continue;
    if (culprit == nullptr) {
      culprit = &arm;
    } else {
      ++more;
    }
  }
  if (culprit != nullptr) {
    const json& reasons = at(*culprit, "verdict/reasons");
    const std::string why =
        reasons.is_array() && !reasons.empty() ? reason_text(reasons.front(), language) : std::string("-");
    if (overall == "not_comparable") return say(language, "allowed.unknown", label(*culprit), why);
    return say(language, "allowed.no", label(*culprit), why,
               more > 0 ? say(language, "allowed.more", more) : std::string());
  }
  if (seen.compared.empty()) return std::string(word(language, "allowed.alone"));
  return say(language, "allowed.yes", closest(seen, language));
}

}  // namespace

std::string reason_text(const json& reason, Language language) {
  const std::string code = text(reason, "code");
  const std::string figure = text(reason, "figure");
  if (!figure.empty()) {
    std::string name = word_or(language, "figure.", figure);
    if (!text(reason, "tensor").empty()) {
      name = say(language, "reason.at_tensor", name, tensor_name(reason, language));
      if (const std::string what = text(reason, "what"); what == "channel" || what == "position") {
        return say(language, "reason.at_tensor", name, layer_numbers(reason, language));
      }
    } else if (at(reason, "position").is_number()) {
      name = say(language, "reason.at_position", name, whole(at(reason, "position")));
    } else if (at(reason, "step").is_number()) {
      name = say(language, "reason.at_step", name, whole(at(reason, "step")));
    }
    return say(language, "reason.measured", name, short_number(number(reason, "measured")),
               short_number(number(reason, "allowed")), word_or(language, "source.", text(reason, "source")));
  }
  if (code == "not_finite" && at(reason, "position").is_number()) {
    return say(language, "reason.not_finite_at", whole(at(reason, "position")));
  }
  if (code == "iterations_differ") {
    return say(language, "reason.iterations_differ", whole(at(reason, "iteration")),
               whole(at(reason, "position")));
  }
  if (code == "other_vocabulary") {
    return say(language, "reason.other_vocabulary", whole(at(reason, "own")), whole(at(reason, "reference")));
  }
  if (code == "reference_not_finite") {
    return say(language, "reason.reference_not_finite", whole(at(reason, "position")));
  }
  if (code == "other_keys") {
    std::string keys;
    for (const json& one : at(reason, "keys")) {
      if (!keys.empty()) keys += word(language, "list.comma");
      keys += shown(text(one, "key"));
    }
    return say(language, "reason.other_keys", keys);
  }
  if (code == "other_parameters")
    return say(language, "reason.other_parameters", shown(text(reason, "tensor")));
  if (code == "failed") return say(language, "reason.failed", shown(text(reason, "error")));
  return word_or(language, "reason.", code);
}

std::vector<std::string> sentences(const json& report, Language language) {
  const Seen seen = look(report);
  if (seen.compared.empty()) {
    return {say(language, "equal.nothing", seen.reference ? label(*seen.reference) : "-"),
            std::string(word(language, "differs.nothing")), verdict_sentence(report, seen, language)};
  }
  return {equal_sentence(report, seen, language), difference_sentence(report, seen, language),
          verdict_sentence(report, seen, language)};
}

}  // namespace tetrad::parity
