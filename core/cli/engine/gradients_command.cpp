// `gradients`: loss and gradients of a prompt's next tokens with respect to every parameter, by the training
// graph, as a safetensors file that another engine can be compared with: input_ids int64 [T], loss float32
// [1] (mean negative log likelihood of tokens 1 .. T-1), and each gradient in float32 under its parameter's
// name.
#include "cli/engine/commands.h"
#include "cli/engine/conversation_record.h"
#include "cli/engine/prompt_argument.h"
#include "io/safetensors_writer.h"
#include "train/graph/train_graph.h"

#include <ATen/ops/index_add.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace tetrad::cli {
namespace {

// Sums in fp32 what arrives for each parameter.
class Collected final : public train::GradientReceiver {
 public:
  void add(const Parameter& parameter, at::Tensor dw) override {
    at::Tensor& sum = sums[parameter.name];
    sum = sum.defined() ? sum.add_(dw) : dw.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  }
  void add_rows(const Parameter& parameter, const at::Tensor& ids, const at::Tensor& rows) override {
    at::Tensor& sum = sums[parameter.name];
    if (!sum.defined()) sum = at::zeros(parameter.shape, rows.options().dtype(at::kFloat));
    sum.index_add_(0, ids, rows.to(at::kFloat));
  }
  std::map<std::string, at::Tensor> sums;
};

train::Batch one_row(const std::vector<std::int32_t>& ids) {
  train::Batch batch;
  batch.rows = 1;
  batch.width = static_cast<std::int64_t>(ids.size()) - 1;
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
    batch.ids.push_back(ids[i]);
    batch.targets.push_back(ids[i + 1]);
    batch.positions.push_back(static_cast<std::int64_t>(i));
    batch.documents.push_back(0);
  }
  batch.examples = 1;
  batch.tokens = batch.scored = batch.width;
  return batch;
}

std::span<const std::byte> bytes_of(const at::Tensor& host) {
  return {static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes()};
}

}  // namespace

int run_gradients(Control& control) {
  if (control.run().config.at("path") != "training")
    throw Error(ExitCode::usage,
                "[gradients] gradients exist on the training path alone: set path to training");
  MemoryWatch memory;
  Session session(control, memory);
  const auto out = session.run().args.at("out").get<std::string>();
  const std::vector<std::int32_t> ids = prompt_argument(session, "gradients");
  if (ids.size() < 2) throw Error(ExitCode::usage, "[gradients] one token has no successor to predict");
  model::Transformer& model = session.model();
  const train::StepInput input =
      train::StepInput::make(one_row(ids), model.config().vocab_size, model.setup().device);
  const nlohmann::json& options = session.config().at("train");
  train::TrainGraph graph(model, {train::parse_checkpointing(options.at("checkpointing").get<std::string>()),
                                  options.at("head_budget_mib").get<std::int64_t>() << 20});
  const auto tokens = static_cast<std::int64_t>(ids.size());
  const at::Tensor sum = at::sum(graph.forward(input), at::kDouble);
  const auto loss = static_cast<float>(sum.item<double>() / static_cast<double>(tokens - 1));
  Collected gradients;
  graph.backward(input, 1.0 / static_cast<double>(tokens - 1), gradients);

  std::vector<io::TensorSpec> specs = {{"input_ids", io::DType::i64, {tokens}},
                                       {"loss", io::DType::f32, {1}}};
  for (const auto& [name, gradient] : gradients.sums)
    specs.push_back({name, io::DType::f32, gradient.sizes().vec()});
  io::SafetensorsWriter writer(out, std::move(specs), {{"tetrad", session.identity().to_json().dump()}});
  const std::vector<std::int64_t> wide(ids.begin(), ids.end());
  writer.append("input_ids", std::as_bytes(std::span(wide)));
  writer.append("loss", std::as_bytes(std::span(&loss, 1)));
  for (auto& [name, gradient] : gradients.sums) {
    const at::Tensor host = std::exchange(gradient, at::Tensor()).cpu().contiguous();
    writer.append(name, bytes_of(host));
  }
  writer.finish();
  std::fprintf(stderr, "[gradients] loss %.6f over %lld tokens, %zu gradients -> %s\n",
               static_cast<double>(loss), static_cast<long long>(tokens - 1), gradients.sums.size(),
               out.c_str());
  write_record(session, {{"result",
                          {{"out", std::filesystem::absolute(out).string()},
                           {"loss", loss},
                           {"tokens", tokens - 1},
                           {"gradients", gradients.sums.size()}}}});
  return 0;
}

}  // namespace tetrad::cli
