// What a lane of the 16 x 16 quantiser does with its share of a tile, for host and device: a piece is 16
// bytes of a row (8 elements of 16 bits or 4 floats), kept as it was loaded, so that a tile is read once and
// waits in registers for its scale. Two or four neighbouring lanes have the pieces of a row of 16.
#pragma once

#include <tetrad/nvfp4/cuda.h>

#include "nvfp4/cuda/block_codec.h"

namespace tetrad::nvfp4::cuda {

template <class T>
inline constexpr int kPieceElements = 16 / static_cast<int>(sizeof(T));
template <class T>
inline constexpr int kTileLanes = 16 / kPieceElements<T>;

struct Piece {
  std::uint32_t words[4] = {0, 0, 0, 0};
};

// The greater of the two 16-bit halves of a and b, half by half.
TETRAD_HD inline std::uint32_t max_halves(std::uint32_t a, std::uint32_t b) {
#ifdef __CUDA_ARCH__
  return __vmaxu2(a, b);
#else
  const std::uint32_t low = (a & 0xFFFFu) > (b & 0xFFFFu) ? a & 0xFFFFu : b & 0xFFFFu;
  return low | ((a >> 16) > (b >> 16) ? a & 0xFFFF0000u : b & 0xFFFF0000u);
#endif
}

// Magnitudes as integers grow as the numbers do, NaN above infinity above what is finite. `seen` starts at 0.
template <class T>
TETRAD_HD inline std::uint32_t greater_magnitude(std::uint32_t seen, const Piece& piece) {
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int i = 0; i < 4; ++i) {
    if constexpr (sizeof(T) == 2) {
      seen = max_halves(seen, piece.words[i] & 0x7FFF7FFFu);
    } else {
      const std::uint32_t magnitude = piece.words[i] & 0x7FFFFFFFu;
      seen = seen > magnitude ? seen : magnitude;
    }
  }
  return seen;
}

template <class T>
TETRAD_HD inline float piece_element(const Piece& piece, int i) {
  if constexpr (sizeof(T) == 2) {
    T value;
    value.bits = static_cast<std::uint16_t>(piece.words[i / 2] >> (16 * (i % 2)));
    return to_float(value);
  } else {
    return bits_float(piece.words[i]);
  }
}

// The bits, as a float, of what greater_magnitude has found.
template <class T>
TETRAD_HD inline std::uint32_t magnitude_bits(std::uint32_t seen) {
  if constexpr (sizeof(T) == 2) {
    const std::uint32_t low = seen & 0xFFFFu, high = seen >> 16;
    T value;
    value.bits = static_cast<std::uint16_t>(low > high ? low : high);
    return float_bits(to_float(value));
  } else {
    return seen;
  }
}

// The piece's codes, element i in bits 4 i .. 4 i + 3.
template <class T>
TETRAD_HD inline std::uint32_t encode_piece(const Piece& piece, float factor) {
  constexpr int n = kPieceElements<T>;
  float values[n];
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int i = 0; i < n; ++i) values[i] = piece_element<T>(piece, i);
  return e2m1_magnitudes<n>(values, factor) | e2m1_signs<n>(values);
}

#ifdef __CUDACC__
// codec.h's quantize with options.block tile16x16, profile te, plain; rows and cols positive.
template <class T>
void quantize_tiles(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                    const GlobalScale* global_on_device, GlobalScale global, std::uint8_t* codes,
                    std::uint8_t* scales, NonFiniteReport report, Stream stream);
#endif

}  // namespace tetrad::nvfp4::cuda
