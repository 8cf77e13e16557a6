#include "train/trainer/run_state.h"

#include "model/plugin_call.h"
#include "train/trainer/parameter_table.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <tetrad/base/error.h>
#include <tetrad/base/sha256.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace tetrad::train {
namespace {

// Pieces in which a tensor goes to the writer: a device's bytes pass through host memory this much at a time.
constexpr std::int64_t kPiece = std::int64_t{32} << 20;

io::DType stored_dtype(const at::Tensor& t) {
  switch (t.scalar_type()) {
    case at::kFloat:
      return io::DType::f32;
    case at::kBFloat16:
      return io::DType::bf16;
    case at::kHalf:
      return io::DType::f16;
    case at::kByte:
      return io::DType::u8;
    case at::kChar:
      return io::DType::i8;
    case at::kInt:
      return io::DType::i32;
    case at::kLong:
      return io::DType::i64;
    default:
      throw Error(std::string("[checkpoint] a tensor of type ") + c10::toString(t.scalar_type()) +
                  " cannot be stored");
  }
}

struct Piece {
  std::string group, name;
  at::Tensor tensor;
};

std::vector<Piece> pieces_of(const Parameter& p) {
  std::vector<Piece> pieces;
  const auto add = [&](const char* suffix, const at::Tensor& t) {
    if (t.defined()) pieces.push_back({"weights", p.name + suffix, t});
  };
  add("", p.dense);
  add(".codes", p.planes.codes);
  add(".scales", p.planes.scales);
  add(".lo_codes", p.planes.lo_codes);
  add(".lo2_codes", p.planes.lo2_codes);
  return pieces;
}

std::vector<Piece> state_of(const Parameter& p, OptimizerStates& states) {
  std::vector<NamedTensor> tensors;
  model::check(states.optimizer().state(states.state(p), tensors), states.id(), "state of " + p.name);
  std::vector<Piece> pieces;
  for (NamedTensor& named : tensors)
    pieces.push_back({"optimizer", p.name + "/" + named.name, std::move(named.tensor)});
  return pieces;
}

std::vector<Piece> all_pieces(const std::deque<Parameter>& parameters, OptimizerStates& states) {
  std::vector<Piece> all;
  for (const Parameter& p : parameters) {
    for (Piece& piece : pieces_of(p)) all.push_back(std::move(piece));
    if (!states.trains(p)) continue;
    for (Piece& piece : state_of(p, states)) all.push_back(std::move(piece));
  }
  return all;
}

io::TensorSpec spec_of(const Piece& piece) {
  return {piece.name, stored_dtype(piece.tensor), piece.tensor.sizes().vec()};
}

void write_bytes(const at::Tensor& tensor, const ByteSink& sink) {
  const at::Tensor flat = tensor.contiguous().view({-1});
  const std::int64_t step =
      std::max<std::int64_t>(1, kPiece / static_cast<std::int64_t>(flat.element_size()));
  for (std::int64_t at = 0; at < flat.numel(); at += step) {
    const at::Tensor host = flat.narrow(0, at, std::min(step, flat.numel() - at)).cpu();
    sink({static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes()});
  }
}

at::Tensor as_stored(const io::TensorSpec& spec, std::span<const std::byte> bytes, at::ScalarType dtype) {
  auto* data = const_cast<std::byte*>(bytes.data());  // from_blob reads alone here
  return at::from_blob(data, spec.shape, at::TensorOptions().dtype(dtype)).clone();
}

}  // namespace

Identity run_identity(const std::deque<Parameter>& parameters, OptimizerStates& states,
                      const std::string& data_identity) {
  std::string layout;
  for (const Parameter& p : parameters)
    layout += fmt::format("{} {} {}\n", p.name, fmt::join(p.shape, "x"), format_name(p.format));
  return {{"parameters", sha256_hex(layout)},
          {"optimizer", states.id() + ": " + states.optimizer().state_format()},
          {"data", data_identity}};
}

CheckpointContent checkpoint_content(const std::deque<Parameter>& parameters, OptimizerStates& states,
                                     const Identity& identity, const RunState& state) {
  CheckpointContent content;
  content.step = state.progress.step;
  content.identity = identity;
  nlohmann::json scales = nlohmann::json::object();
  for (const Parameter& p : parameters)
    if (p.planes.codes.defined()) scales[p.name] = p.planes.decode_scale;
  content.state = {{"step", state.progress.step},
                   {"updates", state.progress.updates},
                   {"skipped_in_a_row", state.progress.skipped_in_a_row},
                   {"previous_norm", state.progress.previous_norm},
                   {"tokens", state.progress.tokens},
                   {"cursor", state.cursor},
                   {"settings", state.settings},
                   {"decode_scales", scales}};
  for (Piece& piece : all_pieces(parameters, states)) {
    io::TensorSpec spec = spec_of(piece);
    content.tensors.push_back({piece.group, std::move(spec),
                               [tensor = piece.tensor](const ByteSink& sink) { write_bytes(tensor, sink); }});
  }
  return content;
}

RunState restore_run(const Checkpoint& checkpoint, std::deque<Parameter>& parameters, OptimizerStates& states,
                     const Identity& identity) {
  checkpoint.require_identity(identity);
  const std::vector<Piece> pieces = all_pieces(parameters, states);
  std::vector<io::TensorSpec> specs;
  std::map<std::string, const Piece*> places;
  for (const Piece& piece : pieces) {
    specs.push_back(spec_of(piece));
    places.emplace(piece.name, &piece);
  }
  checkpoint.require_tensors(specs);
  const nlohmann::json& saved = checkpoint.state();
  RunState state;
  state.progress = {saved.at("step").get<std::int64_t>(), saved.at("updates").get<std::int64_t>(),
                    saved.at("skipped_in_a_row").get<std::int64_t>(), saved.at("previous_norm").get<double>(),
                    saved.at("tokens").get<std::int64_t>()};
  state.cursor = saved.at("cursor");
  state.settings = saved.at("settings");
  std::map<std::string, float> scales;
  for (const auto& [name, scale] : saved.at("decode_scales").items()) scales[name] = scale.get<float>();

  // Bytes come out after all of them were verified; what is taken over here is whole.
  std::map<std::string, std::vector<NamedTensor>> optimizer;
  checkpoint.restore([&](const io::TensorSpec& spec, std::span<const std::byte> bytes) {
    const Piece& piece = *places.at(spec.name);
    at::Tensor values = as_stored(spec, bytes, piece.tensor.scalar_type());
    if (piece.group == "weights") {
      at::Tensor target = piece.tensor;
      target.copy_(values);
    } else {
      const std::size_t slash = spec.name.rfind('/');
      optimizer[spec.name.substr(0, slash)].push_back({spec.name.substr(slash + 1), std::move(values)});
    }
  });
  for (Parameter& p : parameters) {
    ++p.version;
    if (p.planes.codes.defined()) p.planes.decode_scale = scales.at(p.name);
    if (!states.trains(p)) continue;
    model::check(states.optimizer().restore(states.state(p), optimizer[p.name]), states.id(),
                 "restore of " + p.name);
  }
  return state;
}

}  // namespace tetrad::train
