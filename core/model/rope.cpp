#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tetrad::model {
namespace {

// theta^(2i / head_dim), float32 as in the original.
std::vector<float> position_wavelengths(double theta, std::int64_t head_dim) {
  std::vector<float> powers;
  for (std::int64_t i = 0; i < head_dim; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(head_dim);
    // Through double: correctly rounded in all but the rarest cases, whatever the C library's powf does.
    powers.push_back(static_cast<float>(
        std::pow(static_cast<double>(static_cast<float>(theta)), static_cast<double>(exponent))));
  }
  return powers;
}

// Low frequencies (wavelengths beyond the original context) are divided by `factor`, high ones kept, and
// those between the two bounds interpolated.
float llama3_scaled(float inv_freq, const RopeConfig& rope) {
  const auto old_context = static_cast<double>(rope.original_max_position_embeddings);
  const auto factor = static_cast<float>(rope.factor);
  const auto low_wavelength = static_cast<float>(old_context / rope.low_freq_factor);
  const auto high_wavelength = static_cast<float>(old_context / rope.high_freq_factor);
  const float wavelength = (1.0f / inv_freq) * static_cast<float>(2 * std::numbers::pi);
  if (wavelength > low_wavelength) return inv_freq / factor;
  if (wavelength < high_wavelength) return inv_freq;
  const float smooth =
      ((1.0f / wavelength) * static_cast<float>(old_context) - static_cast<float>(rope.low_freq_factor)) /
      static_cast<float>(rope.high_freq_factor - rope.low_freq_factor);
  return (1.0f - smooth) * inv_freq / factor + smooth * inv_freq;
}

// The dimension whose wavelength makes `rotations` turns within the original context.
double yarn_correction_dim(double rotations, const RopeConfig& rope, double head_dim) {
  const auto context = static_cast<double>(rope.original_max_position_embeddings);
  return (head_dim * std::log(context / (rotations * 2 * std::numbers::pi))) / (2 * std::log(rope.theta));
}

std::vector<double> yarn_frequencies(const RopeConfig& rope, std::int64_t head_dim) {
  const auto dim = static_cast<double>(head_dim);
  double low = yarn_correction_dim(rope.beta_fast, rope, dim);
  double high = yarn_correction_dim(rope.beta_slow, rope, dim);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1.0);
  if (low == high) high += 0.001;  // as the original does, against a division by zero
  const auto low_f = static_cast<float>(low);
  const auto width = static_cast<float>(high - low);
  std::vector<double> result;
  for (const float power : position_wavelengths(rope.theta, head_dim)) {
    const float extrapolated = 1.0f / power;
    const float interpolated = 1.0f / (static_cast<float>(rope.factor) * power);
    const float ramp = std::clamp((static_cast<float>(result.size()) - low_f) / width, 0.0f, 1.0f);
    const float keep = 1.0f - ramp;
    result.push_back(interpolated * (1.0f - keep) + extrapolated * keep);
  }
  return result;
}

double yarn_attention_scaling(const RopeConfig& rope) {
  if (rope.attention_factor) return *rope.attention_factor;
  const auto mscale = [&](double weight) {
    return rope.factor <= 1.0 ? 1.0 : 0.1 * weight * std::log(rope.factor) + 1.0;
  };
  if (rope.mscale.value_or(0.0) != 0.0 && rope.mscale_all_dim.value_or(0.0) != 0.0) {
    return mscale(*rope.mscale) / mscale(*rope.mscale_all_dim);
  }
  return mscale(1.0);
}

}  // namespace

RopeFrequencies rope_inverse_frequencies(const RopeConfig& rope, std::int64_t head_dim) {
  if (rope.type == RopeType::yarn) return {yarn_frequencies(rope, head_dim), yarn_attention_scaling(rope)};
  RopeFrequencies result;
  for (const float power : position_wavelengths(rope.theta, head_dim)) {
    float inv_freq = 1.0f / power;
    if (rope.type == RopeType::linear) inv_freq /= static_cast<float>(rope.factor);
    if (rope.type == RopeType::llama3) inv_freq = llama3_scaled(inv_freq, rope);
    result.inv_freq.push_back(inv_freq);
  }
  return result;
}

}  // namespace tetrad::model
