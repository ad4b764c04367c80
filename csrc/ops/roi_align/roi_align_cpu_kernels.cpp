#include "ops/roi_align/roi_align_cpu_kernels.h"

#include "core/simd.h"

namespace vinfer::roi_align::VINFER_LEVEL {
using namespace vinfer::VINFER_LEVEL;
namespace {

// A vector, or what there is of it before `end`.
template <bool kGuarded, typename T>
VINFER_INLINE F32 load_before(const T* from, const T* end) {
  if (kGuarded && end - from < kLanes) return load_first(from, from < end ? end - from : 0);
  return load(from);
}

// `count` elements; up to a whole vector where there is room, for what follows is written later.
template <typename T>
VINFER_INLINE void store_before(T* to, F32 value, std::int64_t count, const T* end) {
  if (end - to >= kLanes) {
    store(to, value);
  } else {
    store_first(to, value, count);
  }
}

// Weighted sums of a bin's rows for neighbouring channels, in kChunks vectors of neighbouring
// columns. Several channels at once share the loop and its weights.
template <int kChannels, int kChunks, bool kGuarded, typename T>
VINFER_INLINE void sum_rows(const T* columns,
                            const Maps<T>& maps,
                            const Weight<float>* weight,
                            const Weight<float>* last,
                            F32 (&sums)[kChannels][kChunks]) {
  const std::int64_t stride = maps.stride;
  for (int c = 0; c < kChannels; ++c) {
    for (int i = 0; i < kChunks; ++i) sums[c][i] = F32{};
  }
  if (weight == last) return;
  const T* row = columns + weight->offset;
  for (int c = 0; c < kChannels; ++c) {
    for (int i = 0; i < kChunks; ++i) {
      const F32 values = load_before<kGuarded>(row + c * stride + i * kLanes, maps.end);
      sums[c][i] = values * weight->value;
    }
  }
  while (++weight != last) {
    row = columns + weight->offset;
    for (int c = 0; c < kChannels; ++c) {
      for (int i = 0; i < kChunks; ++i) {
        const F32 values = load_before<kGuarded>(row + c * stride + i * kLanes, maps.end);
        sums[c][i] += values * weight->value;
      }
    }
  }
}

// How many channels can be read in whole vectors up to `num_columns` columns from `first_column`:
// all but the last ones of the last image.
template <typename T>
VINFER_INLINE std::int64_t count_safe_channels(const Roi<float>& roi,
                                               const Maps<T>& maps,
                                               std::int64_t first_column,
                                               std::int64_t num_columns) {
  std::int64_t last_row = 0;
  for (std::int64_t i = 0; i < roi.rows.begin[roi.rows.bins]; ++i) {
    if (roi.rows.weights[i].offset > last_row) last_row = roi.rows.weights[i].offset;
  }
  const std::int64_t spare = (maps.end - maps.first) - (last_row + first_column + num_columns);
  const std::int64_t count = spare < 0 ? 0 : spare / maps.stride + 1;
  return count < maps.channels ? count : maps.channels;
}

// Any width, a vector of channels at a time: sums of rows are turned round, so that a column is a
// vector over channels, and so are the bins, until they are stored.
template <typename T>
[[gnu::noinline]] void pool_wide(const Roi<float>& roi,
                                 const Maps<T>& maps,
                                 float* scratch,
                                 T* pooled) {
  const std::int64_t num_columns =
      (roi.end_column - roi.first_column + kLanes - 1) / kLanes * kLanes;
  const AxisMatrix<float>& columns = roi.columns;
  const std::int64_t num_bins = roi.rows.bins * columns.bins;
  const std::int64_t num_safe = count_safe_channels(roi, maps, roi.first_column, num_columns);
  float* const bins = scratch + num_columns * kLanes;
  for (std::int64_t c = 0; c < maps.channels; c += kLanes) {
    const std::int64_t left = maps.channels - c;
    for (std::int64_t i = 0; i < roi.rows.bins; ++i) {
      const Weight<float>* const first = roi.rows.weights + roi.rows.begin[i];
      const Weight<float>* const last = roi.rows.weights + roi.rows.begin[i + 1];
      for (std::int64_t x = 0; x < num_columns; x += kLanes) {
        F32 square[kLanes];
        const T* map = maps.first + c * maps.stride + roi.first_column + x;
        if (c + kLanes <= num_safe) {
          for (int lane = 0; lane < kLanes; lane += 4, map += 4 * maps.stride) {
            F32 sums[4][1];
            sum_rows<4, 1, false>(map, maps, first, last, sums);
            for (int k = 0; k < 4; ++k) square[lane + k] = sums[k][0];
          }
        } else {
          for (int lane = 0; lane < kLanes; ++lane) {
            F32 sums[1][1];
            sum_rows<1, 1, true>(map, maps, first, last, sums);
            square[lane] = sums[0][0];
            if (lane + 1 < left) map += maps.stride;  // lanes without a channel repeat the last
          }
        }
        transpose(square);
        for (int lane = 0; lane < kLanes; ++lane) {
          store(scratch + (x + lane) * kLanes, square[lane]);
        }
      }
      const float* const shifted = scratch - roi.first_column * kLanes;
      for (std::int64_t j = 0; j < columns.bins; ++j) {
        const Weight<float>* weight = columns.weights + columns.begin[j];
        const Weight<float>* const end = columns.weights + columns.begin[j + 1];
        const bool padded = end - weight < roi.max_taps;
        F32 bin{};
        if (weight != end) {
          bin = load(shifted + weight->offset * kLanes) * weight->value;
          while (++weight != end) bin += load(shifted + weight->offset * kLanes) * weight->value;
        }
        // As the zeros that fill up shorter bins in `pool_narrow` do: -0 becomes 0.
        if (padded) bin += F32{};
        store(bins + j * kLanes, bin);
      }
      for (std::int64_t j = 0; j < columns.bins; j += kLanes) {
        F32 square[kLanes];
        for (int lane = 0; lane < kLanes; ++lane) square[lane] = load(bins + (j + lane) * kLanes);
        transpose(square);
        const std::int64_t count = columns.bins - j < kLanes ? columns.bins - j : kLanes;
        T* to = pooled + c * num_bins + i * columns.bins + j;
        for (int lane = 0; lane < kLanes && lane < left; ++lane, to += num_bins) {
          if (count == kLanes) {
            store(to, square[lane]);
          } else {
            store_first(to, square[lane], count);
          }
        }
      }
    }
  }
}

#if defined(__AVX2__)

inline constexpr int kMaxChunks = 4;
inline constexpr int kMaxSlots = 64;

// The k-th tap of a vector of bins: bin += keep(sums[index], mask) * weight.
struct Slot {
  I32 index;
  I32 mask;
  F32 weight;
};

// result[i] = chunks[index[i]] with the chunks' lanes numbered through.
template <int kChunks>
VINFER_INLINE F32 gather(const F32* chunks, I32 index) {
  if constexpr (kChunks == 1) return permute(chunks[0], index);
  if constexpr (kChunks == 2) return permute(chunks[0], chunks[1], index);
  if constexpr (kChunks > 2) {
    return index >= 2 * kLanes ? permute(chunks[2], chunks[kChunks - 1], index)
                               : permute(chunks[0], chunks[1], index);
  }
}

// A vector of bins of each channel from its row sums. kSlots is max_taps when every bin has a tap,
// or 0 for any number.
template <int kSlots, int kChannels, int kChunks>
VINFER_INLINE void sum_slots(const Slot* slots,
                             std::int64_t min_taps,
                             std::int64_t max_taps,
                             const F32 (&sums)[kChannels][kChunks],
                             F32 (&bins)[kChannels]) {
  for (int c = 0; c < kChannels; ++c) {
    F32 taps = gather<kChunks>(sums[c], slots[0].index);
    if (kSlots == 0) taps = keep(taps, slots[0].mask);
    bins[c] = taps * slots[0].weight;
  }
  if constexpr (kSlots > 0) {
    for (int k = 1; k < kSlots; ++k) {
      for (int c = 0; c < kChannels; ++c) {
        bins[c] += keep(gather<kChunks>(sums[c], slots[k].index), slots[k].mask) * slots[k].weight;
      }
    }
    return;
  }
  std::int64_t k = 1;
  for (; k < min_taps; ++k) {
    const Slot slot = slots[k];
    for (int c = 0; c < kChannels; ++c)
      bins[c] += gather<kChunks>(sums[c], slot.index) * slot.weight;
  }
  for (; k < max_taps; ++k) {
    const Slot slot = slots[k];
    for (int c = 0; c < kChannels; ++c) {
      bins[c] += keep(gather<kChunks>(sums[c], slot.index), slot.mask) * slot.weight;
    }
  }
}

// All columns of the RoI in kChunks registers, for kChannels channels at once, of which there must
// be a multiple. Two rows of bins share a vector when `kPaired`, which needs kChunks == 1.
template <int kChunks, bool kPaired, int kSlots, int kChannels, bool kGuarded, typename T>
[[gnu::noinline]] void pool_narrow(const Roi<float>& roi,
                                   const Maps<T>& maps,
                                   std::int64_t first_column,
                                   const Slot* program,
                                   T* pooled) {
  const std::int64_t width = roi.columns.bins;
  const std::int64_t height = roi.rows.bins;
  const std::int64_t num_bins = height * width;
  const std::int64_t min_taps = roi.min_taps;
  const std::int64_t max_taps = roi.max_taps;
  const std::int64_t* const begin = roi.rows.begin;
  const Weight<float>* const weights = roi.rows.weights;
  Slot fixed[kSlots > 0 ? kSlots : 1];
  for (int k = 0; k < kSlots; ++k) fixed[k] = program[k];
  for (std::int64_t c = 0; c < maps.channels; c += kChannels, pooled += kChannels * num_bins) {
    const T* const map = maps.first + c * maps.stride + first_column;
    T* to = pooled;
    for (std::int64_t i = 0; i < height; i += kPaired ? 2 : 1) {
      F32 sums[kChannels][kChunks];
      sum_rows<kChannels, kChunks, kGuarded>(
          map, maps, weights + begin[i], weights + begin[i + 1], sums);
      F32 bins[kChannels];
      if constexpr (kPaired) {
        F32 below[kChannels][1];
        const bool alone = i + 1 == height;
        const std::int64_t next = alone ? i : i + 1;
        sum_rows<kChannels, 1, kGuarded>(
            map, maps, weights + begin[next], weights + begin[next + 1], below);
        F32 both[kChannels][2];
        for (int k = 0; k < kChannels; ++k) {
          both[k][0] = sums[k][0];
          both[k][1] = below[k][0];
        }
        sum_slots<kSlots>(kSlots > 0 ? fixed : program, min_taps, max_taps, both, bins);
        const std::int64_t count = alone ? width : 2 * width;
        for (int k = 0; k < kChannels; ++k) {
          store_before(to + k * num_bins, bins[k], count, pooled + (k + 1) * num_bins);
        }
        to += count;
      } else {
        const Slot* slots = kSlots > 0 ? fixed : program;
        for (std::int64_t j = 0; j < width; j += kLanes, slots += max_taps) {
          const std::int64_t count = width - j < kLanes ? width - j : kLanes;
          sum_slots<kSlots>(slots, min_taps, max_taps, sums, bins);
          for (int k = 0; k < kChannels; ++k) {
            store_before(to + k * num_bins, bins[k], count, pooled + (k + 1) * num_bins);
          }
          to += count;
          if (kSlots > 0) break;  // then there is one vector of bins
        }
      }
    }
  }
}

// One vector of slots a tap, for every vector of bins; twice the bins side by side when paired.
VINFER_INLINE void fill_program(const Roi<float>& roi,
                                std::int64_t first_column,
                                bool paired,
                                Slot* program) {
  const AxisMatrix<float>& columns = roi.columns;
  for (std::int64_t j = 0; j < columns.bins; j += kLanes) {
    for (std::int64_t k = 0; k < roi.max_taps; ++k, ++program) {
      Slot slot{};
      for (std::int64_t lane = 0; lane < kLanes && j + lane < columns.bins; ++lane) {
        const std::int64_t at = columns.begin[j + lane] + k;
        if (at >= columns.begin[j + lane + 1]) continue;
        const auto index = static_cast<std::int32_t>(columns.weights[at].offset - first_column);
        slot.index[lane] = index;
        slot.mask[lane] = -1;
        slot.weight[lane] = columns.weights[at].value;
        const std::int64_t second = lane + columns.bins;
        if (!paired || second >= kLanes) continue;
        slot.index[second] = index + kLanes;
        slot.mask[second] = -1;
        slot.weight[second] = slot.weight[lane];
      }
      *program = slot;
    }
  }
}

// The channels of `maps` from `first` to `last`, by one kernel.
template <int kChunks, bool kPaired, int kSlots, int kChannels, bool kGuarded, typename T>
VINFER_INLINE void pool_range(const Roi<float>& roi,
                              Maps<T> maps,
                              std::int64_t first,
                              std::int64_t last,
                              std::int64_t first_column,
                              const Slot* program,
                              T* pooled) {
  if (first == last) return;
  maps.first += first * maps.stride;
  maps.channels = last - first;
  pooled += first * roi.rows.bins * roi.columns.bins;
  pool_narrow<kChunks, kPaired, kSlots, kChannels, kGuarded>(
      roi, maps, first_column, program, pooled);
}

template <typename T>
void pool(const Roi<float>& roi, const Maps<T>& maps, float* scratch, T* pooled) {
  const std::int64_t num_chunks = (roi.end_column - roi.first_column + kLanes - 1) / kLanes;
  const std::int64_t num_vectors = (roi.columns.bins + kLanes - 1) / kLanes;
  if (num_chunks > kMaxChunks || num_vectors * roi.max_taps > kMaxSlots || num_chunks == 0) {
    pool_wide(roi, maps, scratch, pooled);
    return;
  }
  // As far left as whole vectors stay inside the row, if they can.
  std::int64_t first_column = maps.width - num_chunks * kLanes;
  if (first_column > roi.first_column) first_column = roi.first_column;
  if (first_column < 0) first_column = 0;
  const bool paired = num_chunks == 1 && 2 * roi.columns.bins <= kLanes;
  Slot program[kMaxSlots];
  fill_program(roi, first_column, paired, program);
  const std::int64_t num_safe = count_safe_channels(roi, maps, first_column, num_chunks * kLanes);
  const std::int64_t num_fours = num_safe / 4 * 4;
  const bool fixed = num_vectors == 1 && roi.min_taps > 0;

#define VINFER_POOL(chunks, paired, slots)                                   \
  do {                                                                       \
    pool_range<chunks, paired, slots, 4, false>(                             \
        roi, maps, 0, num_fours, first_column, program, pooled);             \
    pool_range<chunks, paired, 0, 1, true>(                                  \
        roi, maps, num_fours, maps.channels, first_column, program, pooled); \
    return;                                                                  \
  } while (false)
  if (paired) {
    if (fixed && roi.max_taps == 2) VINFER_POOL(1, true, 2);
    if (fixed && roi.max_taps == 3) VINFER_POOL(1, true, 3);
    if (fixed && roi.max_taps == 4) VINFER_POOL(1, true, 4);
    VINFER_POOL(1, true, 0);
  }
  if (num_chunks == 1) {
    if (fixed && roi.max_taps == 2) VINFER_POOL(1, false, 2);
    if (fixed && roi.max_taps == 3) VINFER_POOL(1, false, 3);
    if (fixed && roi.max_taps == 4) VINFER_POOL(1, false, 4);
    VINFER_POOL(1, false, 0);
  }
  if (num_chunks == 2) {
    if (fixed && roi.max_taps == 3) VINFER_POOL(2, false, 3);
    if (fixed && roi.max_taps == 4) VINFER_POOL(2, false, 4);
    if (fixed && roi.max_taps == 5) VINFER_POOL(2, false, 5);
    VINFER_POOL(2, false, 0);
  }
  if (num_chunks == 3) VINFER_POOL(3, false, 0);
  VINFER_POOL(4, false, 0);
#undef VINFER_POOL
}

#else

template <typename T>
void pool(const Roi<float>& roi, const Maps<T>& maps, float* scratch, T* pooled) {
  pool_wide(roi, maps, scratch, pooled);
}

#endif

// Plain loops, over independent elements: the compiler makes vectors of them.
template <typename T>
void spread(const Roi<T>& roi, const T* grad_pooled, const GradMaps<T>& grad_maps, T* sums) {
  const std::int64_t num_columns = roi.end_column - roi.first_column;
  for (std::int64_t c = 0; c < grad_maps.channels; ++c) {
    T* const map = grad_maps.first + c * grad_maps.stride + roi.first_column;
    for (std::int64_t i = 0; i < roi.rows.bins; ++i, grad_pooled += roi.columns.bins) {
      if (roi.rows.begin[i] == roi.rows.begin[i + 1]) continue;
      for (std::int64_t x = 0; x < num_columns; ++x) sums[x] = 0;
      for (std::int64_t j = 0; j < roi.columns.bins; ++j) {
        for (std::int64_t k = roi.columns.begin[j]; k < roi.columns.begin[j + 1]; ++k) {
          const Weight<T>& weight = roi.columns.weights[k];
          sums[weight.offset - roi.first_column] += grad_pooled[j] * weight.value;
        }
      }
      for (std::int64_t k = roi.rows.begin[i]; k < roi.rows.begin[i + 1]; ++k) {
        T* __restrict row = map + roi.rows.weights[k].offset;
        const T* __restrict add = sums;
        const T weight = roi.rows.weights[k].value;
        for (std::int64_t x = 0; x < num_columns; ++x) row[x] += add[x] * weight;
      }
    }
  }
}

}  // namespace

void pool_float(const Roi<float>& roi, const Maps<float>& maps, float* scratch, float* pooled) {
  pool(roi, maps, scratch, pooled);
}

void pool_half(const Roi<float>& roi, const Maps<Half>& maps, float* scratch, Half* pooled) {
  pool(roi, maps, scratch, pooled);
}

void spread_float(const Roi<float>& roi,
                  const float* grad_pooled,
                  const GradMaps<float>& grad_maps,
                  float* sums) {
  spread(roi, grad_pooled, grad_maps, sums);
}

void spread_double(const Roi<double>& roi,
                   const double* grad_pooled,
                   const GradMaps<double>& grad_maps,
                   double* sums) {
  spread(roi, grad_pooled, grad_maps, sums);
}

}  // namespace vinfer::roi_align::VINFER_LEVEL
