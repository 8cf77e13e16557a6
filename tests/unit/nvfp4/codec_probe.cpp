// Lets the Python oracles call the codec: arguments say what, stdin holds raw little-endian arrays, stdout
// gives raw ones.
//   codec_probe quantize PROFILE RULE BLOCK DTYPE ROWS COLS   x -> encode, decode (2 floats), codes, scales
//     RULE: exact | power_of_two | ENCODE,DECODE (hexadecimal floats, for a scale that somebody else chose)
//   codec_probe dequantize DECODE DTYPE ROWS COLS             codes, scales -> values
//   codec_probe product DTYPE M N K DECODE                    codes, scales, x -> y (float)
//   codec_probe operand TRANSPOSED ROTATED DTYPE ROWS COLS    x -> encode, decode (2 floats), codes, scales
//   of x or
//     x^T (flags 0 | 1), profile te, exact global scale
//   codec_probe swizzle | unswizzle ROWS COLUMNS              scales -> scales
#include <tetrad/nvfp4/codec.h>
#include <tetrad/nvfp4/operand_codec.h>
#include <tetrad/nvfp4/product.h>
#include <tetrad/nvfp4/scale_layout.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace nv = tetrad::nvfp4;

namespace {

template <class T>
std::vector<T> read_array(std::int64_t n) {
  std::vector<T> out(static_cast<std::size_t>(n));
  if (std::fread(out.data(), sizeof(T), out.size(), stdin) != out.size())
    throw std::runtime_error("stdin is too short");
  return out;
}

template <class T>
void write_array(const std::vector<T>& data) {
  if (std::fwrite(data.data(), sizeof(T), data.size(), stdout) != data.size())
    throw std::runtime_error("stdout");
}

nv::Profile profile_of(const std::string& name) {
  if (name == "te") return nv::Profile::te;
  if (name == "torchao_inference") return nv::Profile::torchao_inference;
  if (name == "modelopt") return nv::Profile::modelopt;
  if (name == "compressed_tensors") return nv::Profile::compressed_tensors;
  throw std::runtime_error("no such profile: " + name);
}

template <class T>
void quantize(char** arg) {
  nv::EncodeOptions options;
  options.profile = profile_of(arg[0]);
  const std::string rule = arg[1];
  if (rule == "exact") options.global = nv::GlobalRule::exact;
  if (std::string(arg[2]) == "16x16") options.block = nv::BlockShape::tile16x16;
  const std::int64_t rows = std::atoll(arg[4]), cols = std::atoll(arg[5]);
  const auto x = read_array<T>(rows * cols);
  nv::GlobalScale global = nv::global_scale(nv::amax(x.data(), rows, cols, cols).value, options);
  if (const auto comma = rule.find(','); comma != std::string::npos) {
    global = {std::strtof(rule.c_str(), nullptr), std::strtof(rule.c_str() + comma + 1, nullptr)};
  }
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * nv::packed_cols(cols) / 2));
  std::vector<std::uint8_t> scales(static_cast<std::size_t>(rows * nv::packed_cols(cols) / 16));
  nv::quantize(x.data(), rows, cols, cols, global, options, codes.data(), scales.data());
  write_array(std::vector<float>{global.encode, global.decode});
  write_array(codes);
  write_array(scales);
}

template <class T>
void dequantize(char** arg) {
  const std::int64_t rows = std::atoll(arg[2]), cols = std::atoll(arg[3]);
  const auto codes = read_array<std::uint8_t>(rows * nv::packed_cols(cols) / 2);
  const auto scales = read_array<std::uint8_t>(rows * nv::packed_cols(cols) / 16);
  std::vector<T> out(static_cast<std::size_t>(rows * cols));
  nv::dequantize(codes.data(), scales.data(), std::strtof(arg[0], nullptr), rows, cols, out.data());
  write_array(out);
}

template <class T>
void product(char** arg) {
  const std::int64_t m = std::atoll(arg[1]), n = std::atoll(arg[2]), k = std::atoll(arg[3]);
  const auto codes = read_array<std::uint8_t>(n * nv::packed_cols(k) / 2);
  const auto scales = read_array<std::uint8_t>(n * nv::packed_cols(k) / 16);
  const auto x = read_array<T>(m * k);
  std::vector<float> y(static_cast<std::size_t>(m * n));
  nv::product(x.data(), m, k, {codes.data(), scales.data(), std::strtof(arg[4], nullptr), n, k}, 0, n,
              y.data(), n);
  write_array(y);
}

template <class T>
void operand(char** arg) {
  const nv::Operand what{std::strcmp(arg[0], "1") == 0, std::strcmp(arg[1], "1") == 0};
  nv::EncodeOptions options;
  options.global = nv::GlobalRule::exact;
  const std::int64_t rows = std::atoll(arg[3]), cols = std::atoll(arg[4]);
  const auto x = read_array<T>(rows * cols);
  const nv::GlobalScale global =
      nv::global_scale(nv::operand_amax(x.data(), rows, cols, cols, what).value, options);
  const std::int64_t m_rows = what.transposed ? cols : rows, m_cols = what.transposed ? rows : cols;
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(m_rows * nv::packed_cols(m_cols) / 2));
  std::vector<std::uint8_t> scales(static_cast<std::size_t>(m_rows * nv::packed_cols(m_cols) / 16));
  nv::quantize_operand(x.data(), rows, cols, cols, what, global, options, codes.data(), scales.data());
  write_array(std::vector<float>{global.encode, global.decode});
  write_array(codes);
  write_array(scales);
}

int run(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "quantize" && argc == 8) {
    const std::string dtype = argv[5];
    if (dtype == "f32") quantize<float>(argv + 2);
    if (dtype == "bf16") quantize<nv::Bf16>(argv + 2);
    if (dtype == "f16") quantize<nv::Fp16>(argv + 2);
  } else if (what == "dequantize" && argc == 6) {
    const std::string dtype = argv[3];
    if (dtype == "f32") dequantize<float>(argv + 2);
    if (dtype == "bf16") dequantize<nv::Bf16>(argv + 2);
    if (dtype == "f16") dequantize<nv::Fp16>(argv + 2);
  } else if (what == "product" && argc == 7) {
    if (std::string(argv[2]) == "f32") product<float>(argv + 2);
    if (std::string(argv[2]) == "bf16") product<nv::Bf16>(argv + 2);
  } else if (what == "operand" && argc == 7) {
    if (std::string(argv[4]) == "f32") operand<float>(argv + 2);
    if (std::string(argv[4]) == "bf16") operand<nv::Bf16>(argv + 2);
  } else if ((what == "swizzle" || what == "unswizzle") && argc == 4) {
    const std::int64_t rows = std::atoll(argv[2]), columns = std::atoll(argv[3]);
    const std::int64_t plain = rows * columns, swizzled = nv::swizzled_size(rows, columns);
    const auto in = read_array<std::uint8_t>(what == "swizzle" ? plain : swizzled);
    std::vector<std::uint8_t> out(static_cast<std::size_t>(what == "swizzle" ? swizzled : plain), 0xEE);
    what == "swizzle" ? nv::swizzle_scales(in.data(), rows, columns, out.data())
                      : nv::unswizzle_scales(in.data(), rows, columns, out.data());
    write_array(out);
  } else {
    std::fprintf(stderr, "usage: see the head of codec_probe.cpp\n");
    return 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 1;
  }
}
