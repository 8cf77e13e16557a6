// Counter-based random bits for stochastic rounding: Philox4x32 with 7 rounds (Salmon et al., "Parallel
// random numbers: as easy as 1, 2, 3", SC 2011; the constants are those of Random123). A draw is a pure
// function of seed, tensor name, step and the element's place in its tensor, so that no result depends on
// threads, launch shapes or on how a tensor is split. Host and device compute the same bits.
//
// Layout, version kDrawLayout (checkpoints store it; a change of anything below is a new version):
//   key     = { low half of the seed, FNV-1a 32 of the tensor's name in UTF-8 }
//   counter = { low half of g, high half of g, step, high half of the seed },  g = element index / 4
//   element index = row * packed_cols(cols) + col in Hugging Face's [out, in] order; a vector is one row
//   word j of the result belongs to element 4 g + j: draw 0 is its low half, draw 1 its high half
// By convention draw 0 rounds the tensor itself (a weight, a gradient) and draw 1 the optimizer's sqrt(v).
#pragma once

#include <tetrad/nvfp4/hd.h>

#include <string_view>

namespace tetrad::nvfp4 {

inline constexpr int kDrawLayout = 1;

// The high half of a 32 x 32 bit product.
TETRAD_HD inline std::uint32_t mul_high(std::uint32_t a, std::uint32_t b) {
#ifdef __CUDA_ARCH__
  return __umulhi(a, b);
#else
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(a) * b) >> 32);
#endif
}

struct Philox4 {
  std::uint32_t word[4];
};

// Rounds is 7 wherever Tetrad draws; 10 is the generator that other libraries call Philox4x32.
template <int Rounds = 7>
TETRAD_HD inline Philox4 philox4x32(Philox4 counter, std::uint32_t key0, std::uint32_t key1) {
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int i = 0; i < Rounds; ++i) {
    const std::uint32_t high0 = mul_high(0xD2511F53u, counter.word[0]), low0 = 0xD2511F53u * counter.word[0];
    const std::uint32_t high1 = mul_high(0xCD9E8D57u, counter.word[2]), low1 = 0xCD9E8D57u * counter.word[2];
    counter = {{high1 ^ counter.word[1] ^ key0, low1, high0 ^ counter.word[3] ^ key1, low0}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// Everything but the element: one per tensor and step, small enough to be a kernel's argument.
struct DrawStream {
  std::uint64_t seed = 0;
  std::uint32_t tensor = 0;  // tensor_key(name)
  std::uint32_t step = 0;
};

// FNV-1a, 32 bits. Of two names that collide both tensors merely see the same draws.
inline std::uint32_t tensor_key(std::string_view name) {
  std::uint32_t hash = 0x811C9DC5u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x01000193u;
  return hash;
}

// The words of elements 4 * group .. 4 * group + 3.
TETRAD_HD inline Philox4 draw_words(const DrawStream& stream, std::uint64_t group) {
  const Philox4 counter = {{static_cast<std::uint32_t>(group), static_cast<std::uint32_t>(group >> 32),
                            stream.step, static_cast<std::uint32_t>(stream.seed >> 32)}};
  return philox4x32<>(counter, static_cast<std::uint32_t>(stream.seed), stream.tensor);
}

TETRAD_HD inline std::uint32_t draw0(std::uint32_t word) {
  return word & 0xFFFFu;
}
TETRAD_HD inline std::uint32_t draw1(std::uint32_t word) {
  return word >> 16;
}

// The words of a block's 16 elements; block = element index / 16.
TETRAD_HD inline void draw_block(const DrawStream& stream, std::int64_t block, std::uint32_t (&words)[16]) {
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int g = 0; g < 4; ++g) {
    const Philox4 four =
        draw_words(stream, static_cast<std::uint64_t>(block) * 4u + static_cast<unsigned>(g));
    for (int j = 0; j < 4; ++j) words[4 * g + j] = four.word[j];
  }
}

}  // namespace tetrad::nvfp4
