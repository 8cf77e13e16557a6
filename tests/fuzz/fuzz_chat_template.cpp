// A chat template. What was accepted renders or refuses, as often as it is asked, with the same answer.
#include "fuzz.h"
#include "text/chat_template.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tetrad;
  static const std::vector<text::Message> messages = {
      {"system", "Be brief."}, {"user", " Hi! \xE4\xBD\xA0 "}, {"assistant", "Hello."}, {"user", "Go on."}};
  fuzz::accepts([&] {
    const text::ChatTemplate chat(fuzz::view(data, size), "chat_template.jinja",
                                  {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
    const auto render = [&](bool prompt) {
      std::string text;
      fuzz::accepts([&] {
        text = chat.render(messages, prompt, {{"enable_thinking", false}}, std::time_t{0});
      });
      fuzz::require(!text::validate_utf8(text), "a prompt that is not UTF-8");
      return text;
    };
    render(false);
    fuzz::require(render(true) == render(true), "two renderings differ");
  });
  return 0;
}
