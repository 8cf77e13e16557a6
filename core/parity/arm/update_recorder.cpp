#include "parity/arm/update_recorder.h"

#include "io/safetensors.h"
#include "io/safetensors_writer.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/plane_codec.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <system_error>
#include <utility>

namespace tetrad::parity {
namespace {

// Elements decoded at a time.
constexpr std::int64_t kStrip = std::int64_t{1} << 22;

std::int64_t rows_of(const Parameter& p) {
  return p.shape.size() < 2 ? 1 : p.shape.front();
}

std::int64_t strip_rows(const Parameter& p) {
  const std::int64_t columns = std::max<std::int64_t>(p.numel() / std::max<std::int64_t>(rows_of(p), 1), 1);
  return std::max<std::int64_t>(kStrip / columns, 1);
}

// visit(first, count) over all rows.
template <class Visit>
void for_each_strip(const Parameter& p, const Visit& visit) {
  const std::int64_t rows = rows_of(p), step = strip_rows(p);
  for (std::int64_t first = 0; first < rows; first += step) visit(first, std::min(step, rows - first));
}

std::span<const std::byte> bytes_of(const at::Tensor& values) {
  return {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()};
}

std::vector<io::TensorSpec> specs_of(const std::vector<const Parameter*>& parameters) {
  std::vector<io::TensorSpec> specs;
  for (const Parameter* p : parameters) specs.push_back({p->name, io::DType::f32, p->shape});
  return specs;
}

}  // namespace

at::Tensor parameter_values(const Parameter& parameter, std::int64_t first, std::int64_t count) {
  const std::int64_t rows = rows_of(parameter);
  const auto part = [&](const at::Tensor& t) { return t.reshape({rows, -1}).narrow(0, first, count); };
  if (parameter.dense.defined()) return part(parameter.dense).to(at::kCPU, at::kFloat).contiguous();
  const Planes& planes = parameter.planes;
  if (!planes.codes.defined() || !planes.scales.defined())
    throw Error("[parity] '" + parameter.name +
                "' has neither dense values nor planes: its updates cannot be read");
  const auto on_host = [&](const at::Tensor& t) { return t.defined() ? part(t).cpu().contiguous() : t; };
  const at::Tensor codes = on_host(planes.codes), scales = on_host(planes.scales),
                   lo = on_host(planes.lo_codes), lo2 = on_host(planes.lo2_codes);
  const auto bytes = [](const at::Tensor& t) {
    return t.defined() ? static_cast<const std::uint8_t*>(t.const_data_ptr()) : nullptr;
  };
  const at::Tensor values =
      at::empty({count, parameter.numel() / rows}, at::TensorOptions().dtype(at::kFloat));
  nvfp4::dequantize_planes(nvfp4::PlanesView{bytes(codes), bytes(scales), bytes(lo), bytes(lo2)},
                           planes.decode_scale, nvfp4::PlaneValue::exact, count, values.size(1),
                           static_cast<float*>(values.mutable_data_ptr()));
  return values;
}

UpdateRecorder::UpdateRecorder(const std::deque<Parameter>& parameters, const Trained& trained,
                               std::filesystem::path file)
    : file_(std::move(file)),
      before_(file_.parent_path() / fmt::format(".before.{}.safetensors", ::getpid())) {
  for (const Parameter& parameter : parameters)
    if (trained(parameter)) parameters_.push_back(&parameter);
  io::SafetensorsWriter writer(before_, specs_of(parameters_));
  for (const Parameter* p : parameters_)
    for_each_strip(*p, [&](std::int64_t first, std::int64_t count) {
      writer.append(p->name, bytes_of(parameter_values(*p, first, count)));
    });
  writer.finish();
}

UpdateRecorder::~UpdateRecorder() {
  std::error_code ignored;
  std::filesystem::remove(before_, ignored);
}

std::vector<std::string> UpdateRecorder::names() const {
  std::vector<std::string> names;
  for (const Parameter* p : parameters_) names.push_back(p->name);
  return names;
}

void UpdateRecorder::write(const std::map<std::string, std::string>& metadata) {
  const io::SafetensorsFile before = io::SafetensorsFile::open(before_);
  io::SafetensorsWriter writer(file_, specs_of(parameters_), metadata);
  for (const Parameter* p : parameters_) {
    const io::TensorView& was = before.at(p->name);
    for_each_strip(*p, [&](std::int64_t first, std::int64_t count) {
      const at::Tensor values = parameter_values(*p, first, count).clone();
      at::Tensor old = at::empty_like(values);
      const std::size_t offset =
          static_cast<std::size_t>(first) * (old.nbytes() / static_cast<std::size_t>(count));
      std::memcpy(old.mutable_data_ptr(), was.bytes.data() + offset, old.nbytes());
      writer.append(p->name, bytes_of(values.sub_(old)));
    });
    before.release(was);
  }
  writer.finish();
}

}  // namespace tetrad::parity
