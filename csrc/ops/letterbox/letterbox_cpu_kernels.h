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

// Taps of all columns of the picture in one plane of the source.
struct ColumnTaps {
  const std::int64_t* offsets;  // of the lower neighbour, in bytes, from `tail_begin` in the tail
  const float* fractions;
  std::int64_t num_columns;
  std::int64_t num_before_tail;
  std::int64_t tail_begin;  // in bytes from the start of the row
  std::int64_t tail_bytes;
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
