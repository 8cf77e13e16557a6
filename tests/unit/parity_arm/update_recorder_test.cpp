// Updates: the differences of exactly decoded values, in every format and over strips; nothing temporary
// stays.
#include "parity/arm/update_recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <tetrad/nvfp4/plane_codec.h>

#include <cstring>

#include "io/safetensors.h"
#include "support/temp_dir.h"

namespace tetrad::parity {
namespace {

Parameter dense(const std::string& name, at::Tensor values) {
  Parameter p;
  p.name = name;
  p.shape = values.sizes().vec();
  p.dense = std::move(values);
  return p;
}

// `count` planes with random codes and scales.
Parameter planes(const std::string& name, std::vector<std::int64_t> shape, int count) {
  Parameter p;
  p.name = name;
  p.shape = std::move(shape);
  const std::int64_t rows = p.shape.size() < 2 ? 1 : p.shape[0], cols = p.shape.back(),
                     padded = (cols + 15) / 16 * 16;
  const auto bytes = [&](std::int64_t width, int most) {
    return at::randint(0, most, {rows, width}, at::TensorOptions().dtype(at::kByte));
  };
  p.planes.codes = bytes(padded / 2, 256);
  p.planes.scales = bytes(padded / 16, 0x7F);
  if (count > 1) p.planes.lo_codes = bytes(padded / 2, 256);
  if (count > 2) p.planes.lo2_codes = bytes(padded / 2, 256);
  p.planes.decode_scale = 0x1p-5F;
  return p;
}

at::Tensor reference_values(const Parameter& p) {
  if (p.dense.defined()) return p.dense.to(at::kFloat);
  const std::int64_t rows = p.shape.size() < 2 ? 1 : p.shape[0], cols = p.shape.back();
  const auto at_bytes = [](const at::Tensor& t) {
    return t.defined() ? t.const_data_ptr<std::uint8_t>() : nullptr;
  };
  at::Tensor out = at::empty({rows, cols});
  nvfp4::reference::dequantize_planes(
      nvfp4::PlanesView{at_bytes(p.planes.codes), at_bytes(p.planes.scales), at_bytes(p.planes.lo_codes),
                        at_bytes(p.planes.lo2_codes)},
      p.planes.decode_scale, nvfp4::PlaneValue::exact, rows, cols, out.mutable_data_ptr<float>());
  return out.reshape(p.shape);
}

TEST(UpdateRecorder, StoresTheDifferenceOfDecodedValuesInEveryFormat) {
  at::manual_seed(3);
  std::deque<Parameter> parameters;
  parameters.push_back(dense("norm", at::randn({37})));
  parameters.push_back(dense("bf16", at::randn({5, 48}).to(at::kBFloat16)));
  // More than one strip.
  parameters.push_back(dense("large", at::randn({2100, 2048})));
  parameters.push_back(planes("hi", {7, 40}, 1));
  parameters.push_back(planes("hi_lo", {7, 48}, 2));
  parameters.push_back(planes("vector", {33}, 3));
  parameters.push_back(dense("frozen", at::randn({4, 16})));
  const test::TempDir folder;
  std::vector<at::Tensor> before;
  for (const Parameter& p : parameters) before.push_back(reference_values(p).clone());
  {
    UpdateRecorder recorder(
        parameters, [](const Parameter& p) { return p.name != "frozen"; }, folder / "updates.safetensors");
    for (Parameter& p : parameters) {
      if (p.dense.defined()) p.dense.add_(at::randn_like(p.dense), 0.01);
      for (at::Tensor* codes : {&p.planes.codes, &p.planes.lo_codes, &p.planes.lo2_codes})
        if (codes->defined()) *codes = at::randint_like(*codes, 0, 256);
      if (p.planes.scales.defined()) p.planes.scales = at::randint_like(p.planes.scales, 0, 0x7F);
    }
    EXPECT_THAT(recorder.names(), testing::ElementsAre("norm", "bf16", "large", "hi", "hi_lo", "vector"));
    recorder.write({{"who", "a test"}});
  }
  const auto file = io::SafetensorsFile::open(folder / "updates.safetensors");
  EXPECT_EQ(file.tensors().size(), 6U);
  for (std::size_t i = 0; i < 6; ++i) {
    const io::TensorView& view = file.at(parameters[i].name);
    at::Tensor update = at::empty(view.shape);
    ASSERT_EQ(view.shape, parameters[i].shape);
    std::memcpy(update.mutable_data_ptr(), view.bytes.data(), view.bytes.size());
    EXPECT_TRUE(at::equal(update, reference_values(parameters[i]) - before[i])) << parameters[i].name;
    EXPECT_GT(update.abs().max().item<float>(), 0) << parameters[i].name;
  }
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    files += entry.exists() ? 1 : 0;
  EXPECT_EQ(files, 1U) << "the values before are gone";
}

}  // namespace
}  // namespace tetrad::parity
