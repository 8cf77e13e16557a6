#include "text/turn_format.h"

#include <tetrad/base/error.h>

#include <algorithm>
#include <utility>

namespace tetrad::text {
namespace {

// Texts that no template has in it. The spaces show whether a template trims.
constexpr std::string_view user_1 = "tetradmarkerone", answer_1 = "tetradmarkertwo",
                           user_2 = "tetradmarkerthree";
constexpr std::string_view white_space = " \t\r\n";

std::string_view trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(white_space);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(white_space) - begin + 1);
}

}  // namespace

TurnFormat TurnFormat::derive(ChatTemplate chat_template, Tokenizer tokenizer) {
  TurnFormat format(std::move(chat_template), std::move(tokenizer));
  format.take_apart();
  return format;
}

TurnFormat TurnFormat::none(Tokenizer tokenizer) {
  return {ChatTemplate("", "no chat template"), std::move(tokenizer)};
}

void TurnFormat::require_turns() const {
  if (!has_turns_) throw Error("[text] this model has no chat template; its prompts are raw texts");
}

void TurnFormat::take_apart() {
  const std::string where = "[text] " + template_.name() + ": ";
  const Message one{"user", std::string(user_1)}, answer{"assistant", std::string(answer_1)};
  const std::string opened = template_.render({one}, /*add_generation_prompt=*/true);
  const std::string spaced = " " + std::string(user_2) + " ";
  const std::string whole = template_.render({one, answer, {"user", spaced}}, true);

  const std::string history = opened + std::string(answer_1);
  if (whole.compare(0, history.size(), history) != 0) {
    throw Error(
        where +
        "the template rewrites earlier turns when a new one is added, so a turn cannot be fed on top of the "
        "history; use the model's plain chat template");
  }
  const std::string rest =
      whole.substr(history.size());  // close, opening of the next turn, user, generation prompt
  trims_user_ = rest.find(spaced) == std::string::npos;
  const std::string_view shown = trims_user_ ? user_2 : std::string_view(spaced);
  const std::size_t user = rest.find(shown);
  if (user == std::string::npos)
    throw Error(where + "the template does not show the user's second message as it is");
  after_user_ = rest.substr(user + shown.size());

  const std::string between = rest.substr(0, user);
  const std::vector<std::int32_t> ids = tokenizer_.encode(between);
  if (ids.empty() || !tokenizer_.is_special(ids.front())) {
    throw Error(where + "an answer is not closed by a special token, so its end cannot be told from text");
  }
  const auto opening =
      std::find_if(ids.begin() + 1, ids.end(), [this](std::int32_t id) { return tokenizer_.is_special(id); });
  close_.assign(ids.begin(), opening);
  const std::string close_text = tokenizer_.decode(close_);
  if (between.compare(0, close_text.size(), close_text) != 0) {
    throw Error(where + "the tokenizer does not give back the text that closes an answer");
  }
  before_user_ = between.substr(close_text.size());
  has_turns_ = true;
}

TurnTokens TurnFormat::first(const std::optional<std::string>& system, std::string_view user) const {
  require_turns();
  std::vector<Message> messages;
  if (system) messages.push_back({"system", *system});
  messages.push_back({"user", std::string(user)});
  TurnTokens turn;
  turn.text = template_.render(messages, /*add_generation_prompt=*/true);
  turn.ids = tokenizer_.encode(turn.text);
  return turn;
}

TurnTokens TurnFormat::next(std::string_view user) const {
  require_turns();
  TurnTokens turn;
  turn.text = before_user_ + std::string(trims_user_ ? trim(user) : user) + after_user_;
  turn.ids = tokenizer_.encode(turn.text);
  return turn;
}

}  // namespace tetrad::text
