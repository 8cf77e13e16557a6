#include "parity/arm/layer_recorder.h"

#include "io/safetensors_writer.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <numeric>
#include <span>

namespace tetrad::parity {

void LayerRecorder::pass(std::int64_t begin, std::int64_t end, std::int64_t first_new) {
  pass_begin_ = begin;
  from_ = std::max({begin, first_new, begin_});
  to_ = std::min(end, end_);
}

void LayerRecorder::seen(std::int64_t layer, std::string_view tensor, const at::Tensor& value) {
  if (from_ >= to_) return;
  std::vector<std::string>& names = order_[layer];
  auto found = std::find(names.begin(), names.end(), tensor);
  if (found == names.end()) found = names.insert(names.end(), std::string(tensor));
  const std::string name = fmt::format("{}/{:02}.{}", layer < 0 ? "-01" : fmt::format("{:03}", layer),
                                       found - names.begin(), tensor);
  // A copy: the model may write over what it shows.
  const at::Tensor kept =
      value.narrow(0, from_ - pass_begin_, to_ - from_)
          .reshape({to_ - from_, -1})
          .to(at::TensorOptions().device(at::kCPU), /*non_blocking=*/false, /*copy=*/true);
  Rows& rows = rows_[name];
  rows.width = kept.size(1);
  rows.count += kept.size(0);
  rows.parts.push_back(kept);
}

void LayerRecorder::write(const std::filesystem::path& file,
                          const std::map<std::string, std::string>& metadata) const {
  const std::int64_t count = end_ - begin_;
  std::vector<io::TensorSpec> specs = {{"positions", io::DType::i64, {count}}};
  for (const auto& [name, rows] : rows_) {
    if (rows.count != count)
      throw Error(fmt::format("[parity] tensor {} was seen at {} of {} positions", name, rows.count, count));
    specs.push_back({name, io::DType::f32, {count, rows.width}});
  }
  io::SafetensorsWriter writer(file, std::move(specs), metadata);
  std::vector<std::int64_t> positions(static_cast<std::size_t>(count));
  std::iota(positions.begin(), positions.end(), begin_);
  writer.append("positions", std::as_bytes(std::span(positions)));
  for (const auto& [name, rows] : rows_) {
    for (const at::Tensor& part : rows.parts) {
      const at::Tensor values = part.to(at::kFloat).contiguous();
      writer.append(name, {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
    }
  }
  writer.finish();
}

}  // namespace tetrad::parity
