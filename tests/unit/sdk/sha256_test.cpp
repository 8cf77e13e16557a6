// SHA-256 against the published vectors of FIPS 180-4 / NIST CAVS, and streaming against one-shot.
#include <tetrad/base/sha256.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

namespace tetrad {
namespace {

TEST(Sha256, FipsVectors) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(
      sha256_hex("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlm"
                 "nopqrsmnopqrstnopqrstu"),
      "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  EXPECT_EQ(sha256_hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// NIST CAVS SHA256ShortMsg: bytes with the high bit set, and a NUL.
TEST(Sha256, BytesAboveAscii) {
  EXPECT_EQ(sha256_hex("\xd3"), "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1");
  EXPECT_EQ(sha256_hex("\x11\xaf"), "5ca7133fa735326081558ac312c620eeca9970d1e70a4b95533d956f072d1f98");
  EXPECT_EQ(sha256_hex(std::string_view("\0", 1)),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
}

TEST(Sha256, PiecesGiveTheSameDigestAsTheWhole) {
  std::mt19937 rng(20240501);
  for (int round = 0; round < 200; ++round) {
    std::string text(rng() % 300, '\0');
    for (char& c : text) c = static_cast<char>(rng() & 255);
    Sha256 sha;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t taken = std::min<std::size_t>(rng() % 80, text.size() - at);
      sha.update(text.data() + at, taken);
      at += taken;
    }
    EXPECT_EQ(sha.hex_digest(), sha256_hex(text)) << "length " << text.size();
  }
}

}  // namespace
}  // namespace tetrad
