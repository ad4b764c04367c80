#pragma once

#include <cstdint>

#include "core/cpu_level.h"
#include "core/half.h"
#include "ops/letterbox/letterbox.h"

namespace vinfer::letterbox {

inline constexpr std::int64_t kChannels = 3;

// Kernels load 8 bytes at a tap's offset, whatever they need of them. Taps too near the end of the
// row for that read a copy of its last bytes instead; a short row is copied whole.
inline constexpr std::int64_t kTapBytes = 8;
inline constexpr std::int64_t kTailBytes = 32;
inline constexpr std::int64_t kMaxCopiedRowBytes = 64;
// A kernel's last vector may compute columns that are not there: elements of `offsets` and
// `fractions` that must exist beyond the last.
inline constexpr std::int64_t kMaxLanes = 16;

// Columns in pairs are loaded 16 bytes a pair, then shuffled to four words: of the first column a
// pixel and its right neighbour, then of the second. A word is a pixel and a byte that is ignored.
inline constexpr std::int64_t kPairBytes = 16;

// Where in `pair_shuffles` the pair stands: in each kMaxLanes columns the even pairs, then the odd.
inline std::int64_t pair_order(std::int64_t pair) {
  constexpr std::int64_t kPairs = kMaxLanes / 2;
  return pair / kPairs * kPairs + pair % 2 * (kPairs / 2) + pair % kPairs / 2;
}

// Taps of all columns of the picture in one plane of the source.
struct ColumnTaps {
  const std::int64_t* offsets;  // of the lower neighbour, in bytes, from `tail_begin` in the tail
  const float* fractions;
  std::int64_t num_columns;
  std::int64_t num_before_tail;
  std::int64_t tail_begin;  // in bytes from the start of the row
  std::int64_t tail_bytes;
  // Of an RGB image that is not much reduced: columns [0, num_paired), a multiple of kMaxLanes, can
  // be loaded in pairs, from offsets[2i] on. The shuffles' bytes stand in pair_order().
  std::int64_t num_paired;
  const std::uint8_t* pair_shuffles;
  bool exact;       // all fractions are 0
  bool contiguous;  // exact, and every column of the source is wanted
};

// Two neighbouring rows of one plane of the source.
struct RowPair {
  const std::uint8_t* low;
  const std::uint8_t* high;
  float fraction;
};

// What the output looks like. All arrays are indexed by the output's channels.
struct Format {
  float mean[kChannels];
  float inverse_std[kChannels];
  float padding[kChannels];  // normalised
  std::int64_t plane;        // elements from channel to channel, unless interleaved
  bool interleaved;          // Layout::kHwc
  bool swap_channels;
};

// The kernels of one CPU level. `out` is the output's element of channel 0 and of column 0: of the
// picture, or of the whole row for fill_row.
template <typename T>
struct Kernels {
  void (*resample_rgb_row)(const RowPair& rows,
                           const ColumnTaps& taps,
                           const Format& format,
                           T* out);
  void (*resample_nv12_row)(const RowPair& y_rows,
                            const ColumnTaps& y_taps,
                            const RowPair& uv_rows,
                            const ColumnTaps& uv_taps,
                            const YuvToRgb& colors,
                            const Format& format,
                            T* out);
  // Padding in columns [first, last).
  void (*fill_row)(const Format& format, std::int64_t first, std::int64_t last, T* out);
};

}  // namespace vinfer::letterbox

#define VINFER_DECLARE(level)          \
  namespace vinfer::letterbox::level { \
  Kernels<float> float_kernels();      \
  Kernels<Half> half_kernels();        \
  }
VINFER_FOR_EACH_LEVEL(VINFER_DECLARE)
#undef VINFER_DECLARE
