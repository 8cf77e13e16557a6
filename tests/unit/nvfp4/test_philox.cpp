// Philox against Random123's published known answers (kat_vectors of that project), and the layout of draws
// against numbers that a Python transcription of philox.h's description gave.
#include <gtest/gtest.h>
#include <tetrad/nvfp4/philox.h>

#include <array>
#include <cmath>
#include <set>

namespace tetrad::nvfp4 {
namespace {

using Words = std::array<std::uint32_t, 4>;

template <int Rounds>
Words philox(Words counter, std::uint32_t key0, std::uint32_t key1) {
  const Philox4 out = philox4x32<Rounds>({{counter[0], counter[1], counter[2], counter[3]}}, key0, key1);
  return {out.word[0], out.word[1], out.word[2], out.word[3]};
}

TEST(Philox, KnownAnswers) {
  const std::uint32_t f = 0xFFFFFFFFu;
  const Words pi = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344};
  EXPECT_EQ(philox<7>({}, 0, 0), (Words{0x5f6fb709, 0x0d893f64, 0x4f121f81, 0x4f730a48}));
  EXPECT_EQ(philox<7>({f, f, f, f}, f, f), (Words{0x5207ddc2, 0x45165e59, 0x4d8ee751, 0x8c52f662}));
  EXPECT_EQ(philox<7>(pi, 0xa4093822, 0x299f31d0), (Words{0x4dfccaba, 0x190a87f0, 0xc47362ba, 0xb6b5242a}));
  EXPECT_EQ(philox<10>({}, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox<10>({f, f, f, f}, f, f), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox<10>(pi, 0xa4093822, 0x299f31d0), (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// FNV's own test vectors.
TEST(Draws, TensorKeyIsFnv1a) {
  EXPECT_EQ(tensor_key(""), 0x811c9dc5u);
  EXPECT_EQ(tensor_key("a"), 0xe40c292cu);
  EXPECT_EQ(tensor_key("foobar"), 0xbf9cf968u);
  EXPECT_NE(tensor_key("\xC3\xA9"), tensor_key("\x43\x29"));  // bytes, whatever the sign of char
}

TEST(Draws, LayoutVersion1) {
  const DrawStream stream{0x0123456789ABCDEFull, tensor_key("model.layers.0.mlp.up_proj.weight"), 17};
  const Philox4 words = draw_words(stream, 0x500000003ull);
  const Words expected = {0x60cf35ef, 0xa6f03311, 0xbbaf8aba, 0x6782db2e};
  for (std::size_t j = 0; j < 4; ++j) EXPECT_EQ(words.word[j], expected[j]);
  EXPECT_EQ(draw0(0xABCD1234u), 0x1234u);
  EXPECT_EQ(draw1(0xABCD1234u), 0xABCDu);

  std::uint32_t block[16];
  draw_block(stream, 9, block);
  for (std::size_t k = 0; k < 16; ++k) EXPECT_EQ(block[k], draw_words(stream, 36 + k / 4).word[k % 4]);
}

TEST(Draws, EveryPartOfTheStreamCounts) {
  const DrawStream base{1, 2, 3};
  std::set<std::uint32_t> seen;
  for (const DrawStream& s : {base, DrawStream{1ull << 32 | 1, 2, 3}, DrawStream{2, 2, 3},
                              DrawStream{1, 3, 3}, DrawStream{1, 2, 4}}) {
    for (const std::uint64_t group : {0ull, 1ull, 1ull << 32}) {
      for (const std::uint32_t word : draw_words(s, group).word) seen.insert(word);
    }
  }
  EXPECT_EQ(seen.size(), 5u * 3u * 4u);
}

// Means and pair correlations of both draws over a tensor, within 5 standard errors.
TEST(Draws, AreUniformAndUncorrelated) {
  const DrawStream stream{42, tensor_key("w"), 1};
  constexpr int kBlocks = 1 << 14;
  double mean0 = 0, mean1 = 0, both = 0, neighbours = 0, last = 0;
  int low_bit = 0;
  for (int b = 0; b < kBlocks; ++b) {
    std::uint32_t words[16];
    draw_block(stream, b, words);
    for (const std::uint32_t word : words) {
      const double u = draw0(word) / 65536.0 - 0.5, v = draw1(word) / 65536.0 - 0.5;
      mean0 += u;
      mean1 += v;
      both += u * v;
      neighbours += u * last;
      last = u;
      low_bit += static_cast<int>(word & 1u);
    }
  }
  const double n = 16.0 * kBlocks, sigma = 0.2887 / 512.0;  // sqrt(n) = 512
  EXPECT_LT(std::abs(mean0 / n), 5 * sigma);
  EXPECT_LT(std::abs(mean1 / n), 5 * sigma);
  EXPECT_LT(std::abs(both / n), 5 / 12.0 / 512.0);
  EXPECT_LT(std::abs(neighbours / n), 5 / 12.0 / 512.0);
  EXPECT_LT(std::abs(low_bit / n - 0.5), 5 * 0.5 / 512.0);
}

}  // namespace
}  // namespace tetrad::nvfp4
