// The packed product: each group of linears over weights rotated through more than 200 MB (the second-level
// cache holds 50), replayed as one graph; then the linears of all 36 layers in one graph.
#include <nlohmann/json.hpp>

#include "bench.h"
#include "nvfp4/cuda/packed_plan.h"
#include "shapes.h"

namespace tetrad::bench {
namespace {

using nvfp4::Bf16;
using nvfp4::cuda::PackedEpilogue;
using nvfp4::cuda::PackedLinear;
using nvfp4::cuda::PackedPlan;

// `copies` of one group of weights with their results.
class Group {
 public:
  Group(const LinearShape& shape, int copies) : shape_(shape) {
    for (const std::int64_t rows : shape.rows) total_rows_ += rows;
    const auto copy_codes = static_cast<std::size_t>(total_rows_ * shape.k / 2);
    codes_.emplace_back(copy_codes * static_cast<std::size_t>(copies), 256);
    scales_.emplace_back(copy_codes / 8 * static_cast<std::size_t>(copies), 0x7F);
    y_.emplace_back(static_cast<std::size_t>(total_rows_) * nvfp4::cuda::kMaxPackedRows * 2);
    x_.emplace_back(gaussian_bf16(static_cast<std::size_t>(shape.k) * nvfp4::cuda::kMaxPackedRows));
    for (int c = 0; c < copies; ++c) {
      std::vector<PackedLinear> weights;
      std::size_t at = copy_codes * static_cast<std::size_t>(c);
      std::int64_t y_at = 0;
      for (const std::int64_t rows : shape.rows) {
        weights.push_back({codes_[0].as<std::uint8_t>() + at, scales_[0].as<std::uint8_t>() + at / 8, nullptr,
                           1.0F / 1024, rows, y_[0].as<Bf16>() + y_at * nvfp4::cuda::kMaxPackedRows, rows});
        at += static_cast<std::size_t>(rows * shape.k / 2);
        y_at += rows;
      }
      weights_.push_back(std::move(weights));
    }
  }

  double bytes() const { return static_cast<double>(total_rows_ * shape_.k) * 0.5625; }
  std::int64_t row_tiles() const {
    return (total_rows_ + nvfp4::cuda::kTileRows - 1) / nvfp4::cuda::kTileRows;
  }
  const LinearShape& shape() const { return shape_; }
  int copies() const { return static_cast<int>(weights_.size()); }
  PackedPlan plan() const { return nvfp4::cuda::plan_packed(row_tiles(), shape_.k, shape_.silu_mul); }

  void launch(int copy, int m, const PackedPlan& plan, cudaStream_t stream) const {
    nvfp4::cuda::packed_linear_planned(
        plan, x_[0].as<Bf16>(), m, shape_.k, shape_.k, weights_[static_cast<std::size_t>(copy)],
        shape_.silu_mul ? PackedEpilogue::silu_mul : PackedEpilogue::store, false, stream);
  }

 private:
  LinearShape shape_;
  std::int64_t total_rows_ = 0;
  std::vector<Buffer> codes_, scales_, x_, y_;
  std::vector<std::vector<PackedLinear>> weights_;
};

nlohmann::json rates(const Context& context, double bytes, double ms) {
  const double rate = bytes / (ms * 1e-3);
  return {{"us", ms * 1e3}, {"gb_s", rate / 1e9}, {"share_of_copy", rate / context.copy_rate}};
}

nlohmann::json measure(const Context& context, const Group& group, int m, const PackedPlan& plan) {
  const double ms = median_graph_ms(context.stream,
                                    [&] {
                                      for (int c = 0; c < group.copies(); ++c)
                                        group.launch(c, m, plan, context.stream);
                                    }) /
                    group.copies();
  nlohmann::json row = {
      {"what", group.shape().name}, {"rows_of_x", m}, {"warps", plan.warps}, {"tiles", plan.tiles}};
  row.update(rates(context, group.bytes(), ms));
  return row;
}

// The linears of 36 layers in one graph.
nlohmann::json measure_layers(const Context& context, const std::vector<Group>& groups, int m) {
  double bytes = 0.0;
  for (const Group& group : groups) bytes += group.bytes() * group.copies();
  const double ms = median_graph_ms(context.stream, [&] {
    for (int layer = 0; layer < groups[0].copies(); ++layer) {
      for (const Group& group : groups) group.launch(layer, m, group.plan(), context.stream);
    }
  });
  nlohmann::json row = {{"what", "linears of 36 layers, one graph"}, {"rows_of_x", m}};
  row.update(rates(context, bytes, ms));
  return row;
}

}  // namespace

nlohmann::json packed_rates(const Context& context) {
  nlohmann::json out = nlohmann::json::array();
  std::vector<LinearShape> shapes = layer_shapes();
  shapes.push_back(head_shape());
  for (const LinearShape& shape : shapes) {
    double bytes = 0.0;
    for (const std::int64_t rows : shape.rows) bytes += static_cast<double>(rows * shape.k) * 0.5625;
    const Group group(shape, std::max(2, static_cast<int>(260e6 / bytes) + 1));
    for (const int m : {1, 2, 4, 8, 16}) {
      out.push_back(measure(context, group, m, group.plan()));
    }
    if (!context.sweep) continue;
    for (int tiles = shape.silu_mul ? 2 : 1; tiles <= (shape.silu_mul ? 2 : 4); tiles *= 2) {
      for (const int warps : {2, 4, 5, 8, 10}) {
        nlohmann::json row = measure(context, group, 1, {warps, tiles});
        row["what"] = std::string("sweep ") + shape.name;
        out.push_back(std::move(row));
      }
    }
  }
  std::vector<Group> groups;
  for (const LinearShape& shape : layer_shapes()) groups.emplace_back(shape, 36);
  out.push_back(measure_layers(context, groups, 1));
  return out;
}

}  // namespace tetrad::bench
