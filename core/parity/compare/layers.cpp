#include "parity/compare/layers.h"

#include "io/safetensors.h"
#include "parity/compare/arm_file.h"
#include "sdk/base/printable.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <span>

namespace tetrad::parity {

namespace {

constexpr double own_share = 4;        // roundings that one tensor may bring itself
constexpr double inherited_share = 2;  // growth of what it inherits
// A worst channel or position against the whole. Measured on the default model in bf16, see docs/parity.md.
constexpr double worst_position = 4;
constexpr double worst_channel = 5;
constexpr double worst_product_channel = 12;  // of silu_mul: the product of two tensors has far longer tails
constexpr double noise_of_worst = 2;          // a worst of many scatters more from run to run

std::vector<std::int64_t> positions(const io::SafetensorsFile& file) {
  const io::TensorView* found = file.find("positions");
  if (found == nullptr || found->dtype != io::DType::i64 || found->shape.size() != 1) {
    refuse(file.path(), "it has no tensor 'positions' of I64 [P]");
  }
  std::vector<std::int64_t> result(static_cast<std::size_t>(found->shape[0]));
  std::memcpy(result.data(), found->bytes.data(), found->bytes.size());
  return result;
}

// Stored names in the order of computing: "-01/..." first, then "000/...".
bool computed_before(const std::string& a, const std::string& b) {
  const bool a_first = a.starts_with('-');
  const bool b_first = b.starts_with('-');
  return a_first != b_first ? a_first : a < b;
}

TensorComparison named(const std::filesystem::path& file, const std::string& name) {
  const std::size_t slash = name.find('/');
  const std::size_t dot = name.find('.', slash == std::string::npos ? 0 : slash);
  if (slash == std::string::npos || slash == 0 || slash > 6 || dot == std::string::npos) {
    refuse(file, fmt::format("tensor '{}' is not called <layer>/<order>.<tensor>", printable(name)));
  }
  TensorComparison result;
  result.name = name;
  const std::string layer = name.substr(0, slash);
  const std::string digits = layer.starts_with('-') ? layer.substr(1) : layer;
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) {
    refuse(file, fmt::format("tensor '{}' does not begin with a layer's number", printable(name)));
  }
  result.layer = std::stoi(digits) * (layer.starts_with('-') ? -1 : 1);
  result.tensor = printable(name.substr(dot + 1));
  return result;
}

class Rows {
 public:
  explicit Rows(const io::TensorView& tensor)
      : width_(static_cast<std::size_t>(tensor.shape[1])), bytes_(tensor.bytes), row_(width_) {}
  std::span<const float> read(std::size_t i) {
    std::memcpy(row_.data(), bytes_.data() + i * width_ * sizeof(float), width_ * sizeof(float));
    return row_;
  }

 private:
  std::size_t width_;
  std::span<const std::byte> bytes_;
  std::vector<float> row_;
};

double mean_magnitude(std::span<const float> row) {
  double sum = 0;
  for (const float value : row) sum += std::fabs(static_cast<double>(value));
  return sum / static_cast<double>(row.size());
}

TensorErrors errors_of(const io::TensorView& reference, const io::TensorView& own,
                       const std::vector<std::int64_t>& at) {
  TensorErrors result;
  const auto rows = static_cast<std::size_t>(reference.shape[0]);
  const auto width = static_cast<std::size_t>(reference.shape[1]);
  if (rows == 0 || width == 0) return result;
  Rows r(reference);
  Rows o(own);
  std::vector<double> channel(width, 0.0);
  double total = 0;
  for (std::size_t p = 0; p < rows; ++p) {
    const auto a = r.read(p);
    const auto b = o.read(p);
    const double m = mean_magnitude(a);
    double row = 0;
    for (std::size_t c = 0; c < width; ++c) {
      const double value = a[c];
      const double difference = static_cast<double>(b[c]) - value;
      if (!std::isfinite(difference)) {
        if (result.finite) result.worst_position = at[p];
        if (result.finite) result.worst_channel = static_cast<std::int64_t>(c);
        result.finite = false;
        continue;
      }
      if (difference == 0) continue;
      const double scale = value * value + m * m;  // 0 only where the whole row is 0: then 100 % off
      const double square = scale > 0 ? difference * difference / scale : 1.0;
      row += square;
      channel[c] += square;
    }
    total += row;
    const double of_row = std::sqrt(row / static_cast<double>(width));
    if (result.finite && of_row > result.position) {
      result.position = of_row;
      result.worst_position = at[p];
    }
  }
  result.error = std::sqrt(total / (static_cast<double>(rows) * static_cast<double>(width)));
  if (!result.finite) return result;
  const auto worst = std::max_element(channel.begin(), channel.end());
  result.channel = std::sqrt(*worst / static_cast<double>(rows));
  if (result.channel > 0) result.worst_channel = worst - channel.begin();
  return result;
}

}  // namespace

const char* source_name(ToleranceSource source) {
  switch (source) {
    case ToleranceSource::given:
      return "tolerance";
    case ToleranceSource::self_noise:
      return "self-noise";
    case ToleranceSource::contract:
      break;
  }
  return "contract";
}

LayerComparison compare_layers(const std::filesystem::path& reference_path,
                               const std::filesystem::path& own_path) {
  const io::SafetensorsFile reference = open_tensors(reference_path);
  const io::SafetensorsFile own = open_tensors(own_path);
  const std::vector<std::int64_t> at = positions(reference);
  if (positions(own) != at) refuse(own_path, "its 'positions' are not the reference arm's");

  LayerComparison result;
  std::vector<std::string> names;
  for (const io::TensorView& tensor : reference.tensors()) {
    if (tensor.name == "positions") continue;
    (own.find(tensor.name) != nullptr ? names : result.missing).push_back(tensor.name);
  }
  for (const io::TensorView& tensor : own.tensors()) {
    if (reference.find(tensor.name) == nullptr) result.missing.push_back(tensor.name);
  }
  std::sort(names.begin(), names.end(), computed_before);
  std::sort(result.missing.begin(), result.missing.end(), computed_before);
  for (const std::string& name : names) {
    const io::TensorView& a = reference.at(name);
    const io::TensorView& b = own.at(name);
    if (a.dtype != io::DType::f32 || a.shape.size() != 2 ||
        a.shape[0] != static_cast<std::int64_t>(at.size())) {
      refuse(reference_path, fmt::format("'{}' is {}, not F32 [{}, width]", printable(name),
                                         io::describe(a.dtype, a.shape), at.size()));
    }
    if (b.dtype != a.dtype || b.shape != a.shape) {
      refuse(own_path, fmt::format("'{}' is {}, the reference arm's is {}", printable(name),
                                   io::describe(b.dtype, b.shape), io::describe(a.dtype, a.shape)));
    }
    TensorComparison tensor = named(reference_path, name);
    tensor.errors = errors_of(a, b, at);
    reference.release(a);
    own.release(b);
    result.tensors.push_back(std::move(tensor));
  }
  return result;
}

LayerVerdict judge_layers(const LayerComparison& layers, double rounding, std::optional<double> given,
                          double noise_factor, const std::vector<const LayerComparison*>& noise) {
  LayerVerdict verdict;
  std::map<std::string, TensorErrors> largest;  // of the reference's own arms
  bool any_noise = false;
  for (const LayerComparison* arm : noise) {
    for (const TensorComparison& tensor : arm->tensors) {
      TensorErrors& most = largest[tensor.name];
      most.error = std::max(most.error, tensor.errors.error);
      most.channel = std::max(most.channel, tensor.errors.channel);
      most.position = std::max(most.position, tensor.errors.position);
      any_noise = any_noise || tensor.errors.error > 0;
    }
  }
  // Noise of exactly 0 says that those arms computed the same thing, not what rounding would do.
  if (given) {
    verdict.source = ToleranceSource::given;
  } else if (any_noise) {
    verdict.source = ToleranceSource::self_noise;
  }
  const double infinite = std::numeric_limits<double>::infinity();
  const double own = own_share * rounding;
  double inherited = 0;  // largest error since the previous layer's last tensor, that one included
  int layer = layers.tensors.empty() ? 0 : layers.tensors.front().layer;
  double previous = 0;
  for (std::size_t i = 0; i < layers.tensors.size(); ++i) {
    const TensorComparison& tensor = layers.tensors[i];
    if (tensor.layer != layer) {
      layer = tensor.layer;
      inherited = previous;
    }
    const double channel_share = tensor.tensor == "silu_mul" ? worst_product_channel : worst_channel;
    TensorErrors allowed;
    if (given) {
      allowed = {*given, infinite, infinite, -1, -1, true};
    } else {
      const auto found = largest.find(tensor.name);
      if (verdict.source == ToleranceSource::self_noise && found != largest.end()) {
        allowed.error = std::max(own, noise_factor * found->second.error);
        allowed.channel =
            std::max(channel_share * own, noise_of_worst * noise_factor * found->second.channel);
        allowed.position =
            std::max(worst_position * own, noise_of_worst * noise_factor * found->second.position);
      } else {
        allowed.error = own + inherited_share * inherited;
        allowed.channel = channel_share * allowed.error;
        allowed.position = worst_position * allowed.error;
      }
    }
    verdict.tolerance.push_back(allowed.error);
    const auto beyond = [&](const char* what, double measured, double limit) {
      if (verdict.first_beyond >= 0 || measured <= limit) return;
      verdict.first_beyond = static_cast<std::ptrdiff_t>(i);
      verdict.what = what;
      verdict.measured = measured;
      verdict.allowed = limit;
    };
    if (!tensor.errors.finite) beyond("not_finite", infinite, 0);
    beyond("error", tensor.errors.error, allowed.error);
    beyond("channel", tensor.errors.channel, allowed.channel);
    beyond("position", tensor.errors.position, allowed.position);
    previous = tensor.errors.error;
    inherited = std::max(inherited, previous);
  }
  return verdict;
}

}  // namespace tetrad::parity
