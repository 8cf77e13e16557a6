// `logits`: the logits of every position of a prompt, as a safetensors file any engine can be compared with:
// input_ids int64 [T], logits float32 [T, V].
#include "cli/engine/commands.h"
#include "cli/engine/conversation_record.h"
#include "cli/engine/prompt_argument.h"
#include "cli/engine/session.h"
#include "io/safetensors_writer.h"

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace tetrad::cli {
namespace {

template <class T>
std::span<const std::byte> bytes_of(const T* data, std::size_t count) {
  return {reinterpret_cast<const std::byte*>(data), count * sizeof(T)};
}

}  // namespace

int run_logits(Control& control) {
  MemoryWatch memory;
  Session session(control, memory);
  const auto out = session.run().args.at("out").get<std::string>();
  const std::vector<std::int32_t> ids = prompt_argument(session, "logits");
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
