// Quantises with one scale for each 16 x 16 tile. Compiled without contraction (-fmad=false) like every file
// whose results are compared bit by bit.
#include "nvfp4/cuda/tile_codec.h"

#include "nvfp4/cuda/kernel_support.cuh"

namespace tetrad::nvfp4::cuda {
namespace {

constexpr unsigned kAllLanes = 0xFFFFFFFFu;

// `left` elements of the row remain at x.
template <bool kAligned, class T>
__device__ Piece load_piece(const T* x, std::int64_t left) {
  Piece piece;
  if constexpr (kAligned) {
    const uint4 all = *reinterpret_cast<const uint4*>(x);
    piece.words[0] = all.x;
    piece.words[1] = all.y;
    piece.words[2] = all.z;
    piece.words[3] = all.w;
  } else {
#pragma unroll
    for (int i = 0; i < kPieceElements<T>; ++i) {
      if (i >= left) continue;
      if constexpr (sizeof(T) == 2)
        piece.words[i / 2] |= static_cast<std::uint32_t>(x[i].bits) << (16 * (i % 2));
      else
        piece.words[i] = float_bits(x[i]);
    }
  }
  return piece;
}

// A warp takes neighbouring tiles, 16 of 16-bit elements or 8 of floats. Each of the 16 rows is one load of
// 512 contiguous bytes and one store of 128 (64), all rows in flight together; a tile's lanes then agree on
// its maximum. kAligned: every row of the tiles begins at a multiple of 16 bytes and has 16 columns.
// wide_scales: a warp's tiles lie side by side, and its scales of a row can be stored together. All lanes of
// a warp stay in the loop together, so that the shuffles always meet.
template <bool kAligned, class T>
__global__ void __launch_bounds__(kThreads, 2)
    quantize_tiles_kernel(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                          GlobalSource global, std::uint8_t* codes, std::uint8_t* scales, bool wide_scales,
                          NonFiniteReport report) {
  constexpr int kLanes = kTileLanes<T>, kTiles = 32 / kLanes;
  const GlobalScale g = global.get();
  const std::int64_t row_blocks = (cols + kBlock - 1) / kBlock;
  const std::int64_t tiles = (rows + kBlock - 1) / kBlock * row_blocks;
  const int lane = static_cast<int>(threadIdx.x % 32), part = lane % kLanes;
  for (std::int64_t first = first_thread() / 32 * kTiles; first < tiles;
       first += thread_count() / 32 * kTiles) {
    const std::int64_t tile = first + lane / kLanes;
    const std::int64_t tile_row = tile / row_blocks, block = tile - tile_row * row_blocks;
    const std::int64_t row = tile_row * kBlock;
    const int count = tile < tiles ? static_cast<int>(min(rows - row, kBlock)) : 0;
    const std::int64_t col = block * kBlock + part * kPieceElements<T>;

    Piece pieces[16];
    const T* from = x + row * stride + col;
#pragma unroll
    for (int k = 0; k < 16; ++k) {
      if (k < count) pieces[k] = load_piece<kAligned>(from, cols - col);
      from += stride;
    }
    std::uint32_t seen = 0;
#pragma unroll
    for (int k = 0; k < 16; ++k) seen = greater_magnitude<T>(seen, pieces[k]);
    std::uint32_t greatest = magnitude_bits<T>(seen);
#pragma unroll
    for (int step = 1; step < kLanes; step *= 2)
      greatest = max(greatest, __shfl_xor_sync(kAllLanes, greatest, step));
    const BlockScale s = block_scale<T>(greatest, g);

    // What a factor of 0 makes of values that are not finite is masked away.
    const std::uint32_t keep = s.code == kE4m3Nan ? 0 : ~0u;
    std::uint8_t* to = codes + (row * row_blocks + block) * 8 + part * (8 / kLanes);
    const std::int64_t pitch = row_blocks * 8;
#pragma unroll
    for (int k = 0; k < 16; ++k) {
      const std::uint32_t word = encode_piece<T>(pieces[k], s.factor) & keep;
      if (k < count) {
        if constexpr (kLanes == 2)
          *reinterpret_cast<std::uint32_t*>(to) = word;
        else
          *reinterpret_cast<std::uint16_t*>(to) = static_cast<std::uint16_t>(word);
      }
      to += pitch;
    }
    if (wide_scales) {
      // Four tiles' scales in a word, then eight of them to the lane that stores them.
      std::uint32_t word = static_cast<std::uint32_t>(s.code) << (8 * (lane / kLanes % 4));
      word |= __shfl_xor_sync(kAllLanes, word, kLanes);
      word |= __shfl_xor_sync(kAllLanes, word, 2 * kLanes);
      constexpr int kParts = kTiles / 8;
      const int k = lane / kParts, half = lane % kParts;
      const std::uint32_t low = __shfl_sync(kAllLanes, word, 8 * kLanes * half);
      const std::uint32_t high = __shfl_sync(kAllLanes, word, 8 * kLanes * half + 4 * kLanes);
      const std::int64_t first_block = block - lane / kLanes;
      if (k < count)
        *reinterpret_cast<uint2*>(scales + (row + k) * row_blocks + first_block + 8 * half) =
            make_uint2(low, high);
    } else {
      for (int k = part; k < count; k += kLanes) scales[(row + k) * row_blocks + block] = s.code;
    }
    if (count > 0 && part == 0 && !is_finite_bits(greatest)) say_non_finite(report);
  }
}

}  // namespace

template <class T>
void quantize_tiles(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                    const GlobalScale* global_on_device, GlobalScale global, std::uint8_t* codes,
                    std::uint8_t* scales, NonFiniteReport report, Stream stream) {
  constexpr std::int64_t tiles_of_a_warp = 32 / kTileLanes<T>;
  const std::int64_t row_blocks = block_count(1, cols);
  const std::int64_t tiles = block_count((rows + kBlock - 1) / kBlock, cols);
  const unsigned grid = grid_for(tiles * kTileLanes<T>);
  const bool aligned = cols % kBlock == 0 && stride * static_cast<std::int64_t>(sizeof(T)) % 16 == 0 &&
                       reinterpret_cast<std::uintptr_t>(x) % 16 == 0;
  const bool wide_scales =
      row_blocks % tiles_of_a_warp == 0 && reinterpret_cast<std::uintptr_t>(scales) % 8 == 0;
  const GlobalSource source{global_on_device, global};
  if (aligned)
    quantize_tiles_kernel<true>
        <<<grid, kThreads, 0, stream>>>(x, rows, cols, stride, source, codes, scales, wide_scales, report);
  else
    quantize_tiles_kernel<false>
        <<<grid, kThreads, 0, stream>>>(x, rows, cols, stride, source, codes, scales, wide_scales, report);
  check_launch("quantise tiles");
}

#define TETRAD_INSTANTIATE(T)                                                                             \
  template void quantize_tiles<T>(const T*, std::int64_t, std::int64_t, std::int64_t, const GlobalScale*, \
                                  GlobalScale, std::uint8_t*, std::uint8_t*, NonFiniteReport, Stream);
TETRAD_INSTANTIATE(float)
TETRAD_INSTANTIATE(Bf16)
TETRAD_INSTANTIATE(Fp16)
#undef TETRAD_INSTANTIATE

}  // namespace tetrad::nvfp4::cuda
