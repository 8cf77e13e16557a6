#include "checkpoint/transcode.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/codec.h>
#include <tetrad/nvfp4/e2m1.h>
#include <tetrad/nvfp4/e4m3.h>
#include <tetrad/nvfp4/half.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <exception>
#include <thread>
#include <vector>

namespace tetrad::checkpoint {
namespace {

using nvfp4::Bf16;
using nvfp4::Fp16;

constexpr std::int64_t strip_elements = std::int64_t{4} << 20;
constexpr std::size_t piece_bytes = std::size_t{8} << 20;

[[noreturn]] void fail_type(const Tensor& tensor) {
  throw Error(fmt::format("[convert] '{}' is {}; only F32, BF16 and F16 are converted", tensor.name,
                          describe(tensor)));
}

template <class F>
void with_type(const Tensor& tensor, F&& f) {
  if (tensor.dtype == io::DType::f32) {
    f(float{});
  } else if (tensor.dtype == io::DType::bf16) {
    f(Bf16{});
  } else if (tensor.dtype == io::DType::f16) {
    f(Fp16{});
  } else {
    fail_type(tensor);
  }
}

// Calls f(begin, end) for parts of [0, rows) on several threads.
template <class F>
void parallel_rows(std::int64_t rows, std::int64_t cols, const F& f) {
  const std::int64_t worth =
      std::max<std::int64_t>(1, rows * cols >> 18);  // 256 Ki elements a thread at least
  const auto cores = static_cast<std::int64_t>(std::max(1U, std::thread::hardware_concurrency()));
  const std::int64_t threads = std::min({rows, worth, cores});
  if (threads <= 1) {
    f(0, rows);
    return;
  }
  std::vector<std::thread> pool;
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(threads));
  for (std::int64_t t = 0; t < threads; ++t) {
    pool.emplace_back([&, t] {
      try {
        f(rows * t / threads, rows * (t + 1) / threads);
      } catch (...) {
        failures[static_cast<std::size_t>(t)] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : pool) thread.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

// Visits the matrix in strips of rows: f(first row, rows, aligned values).
template <class T, class F>
void for_each_strip(const Tensor& tensor, const F& f) {
  const std::int64_t rows = tensor.shape[0], cols = tensor.shape[1];
  const std::int64_t step = std::max<std::int64_t>(1, strip_elements / std::max<std::int64_t>(cols, 1));
  std::vector<T> strip(static_cast<std::size_t>(std::min(step, rows) * cols));
  for (std::int64_t first = 0; first < rows; first += step) {
    const std::int64_t n = std::min(step, rows - first);
    std::memcpy(strip.data(), tensor.bytes.data() + static_cast<std::size_t>(first * cols) * sizeof(T),
                static_cast<std::size_t>(n * cols) * sizeof(T));
    f(first, n, strip.data());
  }
}

[[noreturn]] void fail_value(const Tensor& tensor, std::int64_t index, const char* what) {
  std::string where = fmt::format("element {}", index);
  if (tensor.shape.size() == 2)
    where = fmt::format("row {}, column {}", index / tensor.shape[1], index % tensor.shape[1]);
  throw Error(ExitCode::numerics,
              fmt::format("[convert] '{}': the value at {} {}; look for the step or the file "
                          "it came from",
                          tensor.name, where, what));
}

std::span<const std::byte> bytes_of(const std::vector<std::uint8_t>& values, std::int64_t count) {
  return std::as_bytes(std::span(values).first(static_cast<std::size_t>(count)));
}

}  // namespace

float dense_amax(const Tensor& tensor) {
  float greatest = 0;
  with_type(tensor, [&](auto tag) {
    using T = decltype(tag);
    const std::int64_t cols = tensor.shape[1];
    for_each_strip<T>(tensor, [&](std::int64_t first, std::int64_t n, const T* values) {
      const nvfp4::Amax part = nvfp4::amax(values, n, cols, cols);
      if (part.first_bad >= 0)
        fail_value(tensor, first * cols + part.first_bad, "is not finite, which NVFP4 cannot hold");
      greatest = std::max(greatest, part.value);
    });
  });
  return greatest;
}

void encode(const Tensor& tensor, nvfp4::GlobalScale global, const nvfp4::EncodeOptions& options,
            const ByteSink& codes, const ByteSink& scales) {
  with_type(tensor, [&](auto tag) {
    using T = decltype(tag);
    const std::int64_t cols = tensor.shape[1];
    std::vector<std::uint8_t> to_codes, to_scales;
    for_each_strip<T>(tensor, [&](std::int64_t first, std::int64_t n, const T* values) {
      to_codes.resize(static_cast<std::size_t>(n * cols / 2));
      to_scales.resize(static_cast<std::size_t>(n * cols / 16));
      parallel_rows(n, cols, [&](std::int64_t begin, std::int64_t end) {
        const std::int64_t bad =
            nvfp4::quantize(values + begin * cols, end - begin, cols, cols, global, options,
                            to_codes.data() + begin * cols / 2, to_scales.data() + begin * cols / 16);
        if (bad >= 0)
          fail_value(tensor, (first + begin) * cols + bad, "is not finite, which NVFP4 cannot hold");
      });
      codes(bytes_of(to_codes, n * cols / 2));
      scales(bytes_of(to_scales, n * cols / 16));
    });
  });
}

void to_bf16(const Tensor& tensor, const ByteSink& out) {
  with_type(tensor, [&](auto tag) {
    using T = decltype(tag);
    std::vector<T> in;
    std::vector<Bf16> values;
    const std::size_t step = piece_bytes / sizeof(T), count = tensor.bytes.size() / sizeof(T);
    for (std::size_t first = 0; first < count; first += step) {
      const std::size_t n = std::min(step, count - first);
      in.resize(n);
      values.resize(n);
      std::memcpy(in.data(), tensor.bytes.data() + first * sizeof(T), n * sizeof(T));
      for (std::size_t i = 0; i < n; ++i) {
        const float value = nvfp4::to_float(in[i]);
        values[i] = nvfp4::to_bf16(value);
        if (!std::isfinite(nvfp4::to_float(values[i])))
          fail_value(tensor, static_cast<std::int64_t>(first + i),
                     std::isfinite(value) ? "is too large for bfloat16" : "is not finite");
      }
      out(std::as_bytes(std::span(values)));
    }
  });
}

void decode_bf16(const Tensor& tensor, const ByteSink& out) {
  const Planes& planes = *tensor.planes;
  const std::int64_t rows = tensor.shape[0], cols = tensor.shape[1], blocks = cols / 16;
  std::array<float, 256> block_scale{};
  for (std::size_t i = 0; i < block_scale.size(); ++i) {
    const float scale = nvfp4::e4m3_decode(static_cast<std::uint8_t>(i));
    block_scale[i] = planes.global.divides ? scale / planes.global.value : scale * planes.global.value;
  }
  std::array<float, 16> code{};
  for (std::size_t i = 0; i < code.size(); ++i) code[i] = nvfp4::e2m1_decode(static_cast<std::uint8_t>(i));
  const auto* hi = reinterpret_cast<const std::uint8_t*>(planes.codes.data());
  const auto* lo =
      planes.lo_codes.empty() ? nullptr : reinterpret_cast<const std::uint8_t*>(planes.lo_codes.data());
  const auto* scales = reinterpret_cast<const std::uint8_t*>(planes.scales.data());
  const std::int64_t step = std::max<std::int64_t>(1, strip_elements / cols);
  std::vector<Bf16> values;
  for (std::int64_t first = 0; first < rows; first += step) {
    const std::int64_t n = std::min(step, rows - first);
    values.resize(static_cast<std::size_t>(n * cols));
    parallel_rows(n, cols, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        for (std::int64_t k = 0; k < cols; ++k) {
          const std::int64_t at = (first + row) * cols + k;
          const int shift = static_cast<int>(at & 1) * 4;
          float value = code[static_cast<std::size_t>(hi[at / 2] >> shift & 0xF)];
          if (lo != nullptr) value += code[static_cast<std::size_t>(lo[at / 2] >> shift & 0xF)] * 0.25F;
          value *= block_scale[scales[(first + row) * blocks + k / 16]];
          const Bf16 narrow = nvfp4::to_bf16(value);
          if (!std::isfinite(nvfp4::to_float(narrow))) fail_value(tensor, at, "is not finite in bfloat16");
          values[static_cast<std::size_t>(row * cols + k)] = narrow;
        }
      }
    });
    out(std::as_bytes(std::span(values)));
  }
}

void copy(std::span<const std::byte> bytes, const ByteSink& out) {
  while (!bytes.empty()) {
    const auto now = bytes.first(std::min(piece_bytes, bytes.size()));
    out(now);
    bytes = bytes.subspan(now.size());
  }
}

}  // namespace tetrad::checkpoint
