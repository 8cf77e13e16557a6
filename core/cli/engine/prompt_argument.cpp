#include "cli/engine/prompt_argument.h"

#include "cli/engine/input_file.h"

#include <tetrad/base/error.h>

namespace tetrad::cli {

std::vector<std::int32_t> prompt_argument(Session& session, const std::string& command) {
  const nlohmann::json& args = session.run().args;
  std::vector<std::int32_t> ids;
  if (args.contains("ids")) {
    const std::int64_t vocab = session.model().config().vocab_size;
    for (const nlohmann::json& value : args.at("ids")) {
      const auto id = value.get<std::int64_t>();
      if (id < 0 || id >= vocab) {
        throw Error(ExitCode::usage, "[" + command + "] id " + std::to_string(id) +
                                         " is outside the vocabulary of " + std::to_string(vocab));
      }
      ids.push_back(static_cast<std::int32_t>(id));
    }
  } else {
    const std::string prompt = args.contains("prompt_file")
                                   ? read_input_file(args.at("prompt_file").get<std::string>(),
                                                     command.c_str(), "--prompt-file", max_prompt_bytes)
                                   : args.at("prompt").get<std::string>();
    ids = session.prompt_ids(prompt, args.value("raw", false));
  }
  if (ids.empty()) throw Error(ExitCode::usage, "[" + command + "] the prompt has no tokens");
  return ids;
}

}  // namespace tetrad::cli
