// `logits`: the logits of every position of a prompt, as a safetensors file any engine can be compared with:
// input_ids int64 [T], logits float32 [T, V].
#include "cli/engine/commands.h"
#include "cli/engine/conversation_record.h"
#include "cli/engine/input_file.h"
#include "cli/engine/session.h"
#include "io/safetensors_writer.h"

#include <tetrad/base/error.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace tetrad::cli {
namespace {

std::vector<std::int32_t> input_ids(Session& session) {
  const nlohmann::json& args = session.run().args;
  std::vector<std::int32_t> ids;
  if (args.contains("ids")) {
    const std::int64_t vocab = session.model().config().vocab_size;
    for (const nlohmann::json& value : args.at("ids")) {
      const auto id = value.get<std::int64_t>();
      if (id < 0 || id >= vocab) {
        throw Error(ExitCode::usage, "[logits] id " + std::to_string(id) + " is outside the vocabulary of " +
                                         std::to_string(vocab));
      }
      ids.push_back(static_cast<std::int32_t>(id));
    }
  } else {
    const std::string prompt = args.contains("prompt_file")
                                   ? read_input_file(args.at("prompt_file").get<std::string>(), "logits",
                                                     "--prompt-file", max_prompt_bytes)
                                   : args.at("prompt").get<std::string>();
    ids = session.prompt_ids(prompt, args.value("raw", false));
  }
  if (ids.empty()) throw Error(ExitCode::usage, "[logits] the prompt has no tokens");
  return ids;
}

template <class T>
std::span<const std::byte> bytes_of(const T* data, std::size_t count) {
  return {reinterpret_cast<const std::byte*>(data), count * sizeof(T)};
}

}  // namespace

int run_logits(Control& control) {
  MemoryWatch memory;
  Session session(control, memory);
  const auto out = session.run().args.at("out").get<std::string>();
  const std::vector<std::int32_t> ids = input_ids(session);
  const std::vector<std::int64_t> wide(ids.begin(), ids.end());
  const auto tokens = static_cast<std::int64_t>(ids.size());
  const std::int64_t vocab = session.model().config().vocab_size;

  io::SafetensorsWriter writer(
      out, {{"input_ids", io::DType::i64, {tokens}}, {"logits", io::DType::f32, {tokens, vocab}}},
      {{"tetrad", session.identity().to_json().dump()}});
  writer.append("input_ids", bytes_of(wide.data(), wide.size()));
  session.context().feed_all(ids, [&](std::int64_t, const at::Tensor& logits) {
    const at::Tensor host = logits.cpu().contiguous();
    writer.append("logits", bytes_of(host.const_data_ptr<float>(), static_cast<std::size_t>(host.numel())));
  });
  writer.finish();
  std::fprintf(stderr, "[logits] %lld positions x %lld logits -> %s\n", static_cast<long long>(tokens),
               static_cast<long long>(vocab), out.c_str());
  write_record(session, {{"result",
                          {{"out", std::filesystem::absolute(out).string()},
                           {"input_ids", ids},
                           {"positions", tokens},
                           {"vocab_size", vocab}}}});
  return 0;
}

}  // namespace tetrad::cli
