#include <limits>

#include "core/cuda.h"
#include "ops/weldon_pool/weldon_pool.h"

// Values become unsigned keys of the same order, of which the k-th highest is found bit by bit from
// the first bit in which the map's keys differ. A small map stays in the registers of a warp; a
// larger one is read again from memory, which for most is a cache, by a block that counts digits.
// The lowest values are the highest of the inverted keys. Nothing depends on the order of threads.
namespace vinfer::weldon_pool {
namespace {

inline constexpr int kWarpSize = cuda::kWarpSize;
inline constexpr int kThreads = 256;  // of kernels with a warp a map
inline constexpr int kWarps = kThreads / kWarpSize;
inline constexpr int kBlockThreads = 512;  // of the kernel with a block a map
inline constexpr int kBlockWarps = kBlockThreads / kWarpSize;
inline constexpr int kDigitBits = 10;
inline constexpr int kDigits = 1 << kDigitBits;
static_assert(kDigits == 2 * kBlockThreads);  // two a thread

template <typename T>
struct Arguments {
  const T* maps;
  T* pooled;
  std::uint64_t* max_indices;  // null: not wanted
  std::uint64_t* min_indices;
  std::int64_t num_maps;
  std::uint32_t size;  // of a map
  std::uint32_t k_max;
  std::uint32_t k_min;
  double alpha;
};

// -0 becomes +0. No number has key 0 or ~0, so that 0 is the lowest key of all after inversion too.
__device__ inline std::uint32_t key_of(float value) {
  const std::uint32_t bits = __float_as_uint(value + 0.0f);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

__device__ inline float value_of(std::uint32_t key) {
  return __uint_as_float((key >> 31) != 0 ? key & 0x7fffffffu : ~key);
}

// The k highest keys: those above `threshold`, and `num_ties` of those that equal it.
struct Cut {
  std::uint32_t threshold;
  std::uint32_t num_ties;
};

// The bits that come before the first in which `high` and `low` differ, and how many follow.
struct CommonPrefix {
  std::uint32_t prefix;
  int bits;
};

__device__ inline CommonPrefix common_prefix(std::uint32_t high, std::uint32_t low) {
  const int bits = 32 - __clz(high ^ low);
  return {bits == 32 ? 0u : high >> bits << bits, bits};
}

__device__ inline std::uint32_t warp_max(std::uint32_t value) {
  return cuda::over_warp(value, [](std::uint32_t a, std::uint32_t b) { return a > b ? a : b; });
}

__device__ inline std::uint32_t warp_min(std::uint32_t value) {
  return cuda::over_warp(value, [](std::uint32_t a, std::uint32_t b) { return a < b ? a : b; });
}

template <typename T>
__device__ inline T warp_sum(T value) {
  return cuda::over_warp(value, [](T a, T b) { return a + b; });
}

// ---- positions of the selected values ----

// Ascending order is best first, the lowest position first among equals.
__device__ inline std::uint64_t entry_of(std::uint32_t key, std::uint32_t position) {
  return (std::uint64_t{~key} << 32) | position;
}

__device__ inline void order_pair(std::uint64_t* entries,
                                  std::uint32_t first,
                                  std::uint32_t second) {
  const std::uint64_t a = entries[first];
  const std::uint64_t b = entries[second];
  if (b < a) {
    entries[first] = b;
    entries[second] = a;
  }
}

// Bitonic sort in place of any number of entries, which must be visible to all threads of the group
// already. All comparisons have the same direction, so that entries beyond the last, which would
// be the highest, need not exist.
template <typename Group>
__device__ inline void sort(const Group& group, std::uint64_t* entries, std::uint32_t count) {
  for (std::uint32_t run = 1; run < count; run *= 2) {
    const std::uint32_t pairs = (count + 2 * run - 1) / (2 * run) * run;
    for (std::uint32_t i = group.rank(); i < pairs; i += group.size()) {
      const std::uint32_t first = i / run * 2 * run;
      const std::uint32_t second = first + 2 * run - 1 - i % run;
      if (second < count) order_pair(entries, first + i % run, second);
    }
    group.synchronise();
    for (std::uint32_t stride = run / 2; stride > 0; stride /= 2) {
      for (std::uint32_t i = group.rank(); i < pairs; i += group.size()) {
        const std::uint32_t first = i / stride * 2 * stride + i % stride;
        if (first + stride < count) order_pair(entries, first, first + stride);
      }
      group.synchronise();
    }
  }
}

// Turns unordered entries into the positions in order.
template <typename Group>
__device__ inline void finish_indices(const Group& group,
                                      std::uint64_t* entries,
                                      std::uint32_t count) {
  group.synchronise();
  sort(group, entries, count);
  for (std::uint32_t i = group.rank(); i < count; i += group.size()) entries[i] &= 0xffffffffu;
}

// What a map with a NaN gives.
template <typename Group, typename T>
__device__ inline void write_nan(const Group& group, const Arguments<T>& a, std::int64_t map) {
  if (group.rank() == 0) {
    a.pooled[map] = cuda::from_float<T>(__uint_as_float(0x7fc00000u));
  }
  if (a.max_indices == nullptr) return;
  for (std::uint32_t i = group.rank(); i < a.k_max; i += group.size()) {
    a.max_indices[map * a.k_max + i] = ~std::uint64_t{0};
  }
  for (std::uint32_t i = group.rank(); i < a.k_min; i += group.size()) {
    a.min_indices[map * a.k_min + i] = ~std::uint64_t{0};
  }
}

// Both sides of a map by mean(k, flip, indices), where `flip` inverts keys for the lowest values.
template <typename Group, typename T, typename Mean>
__device__ inline void write_pooled(const Group& group,
                                    const Arguments<T>& a,
                                    std::int64_t map,
                                    const Mean& mean) {
  const bool want_indices = a.max_indices != nullptr;
  double pooled = mean(a.k_max, 0u, want_indices ? a.max_indices + map * a.k_max : nullptr);
  if (a.k_min > 0 && (want_indices || a.alpha != 0.0)) {
    const double low = mean(a.k_min, ~0u, want_indices ? a.min_indices + map * a.k_min : nullptr);
    // Skipped rather than multiplied by 0: that would be NaN where the lowest are infinite.
    if (a.alpha != 0.0) pooled += a.alpha * low;
  }
  if (group.rank() == 0) a.pooled[map] = cuda::from_float<T>(static_cast<float>(pooled));
}

// ---- a warp a map ----

struct WarpGroup {
  __device__ std::uint32_t rank() const { return threadIdx.x % kWarpSize; }
  __device__ std::uint32_t size() const { return kWarpSize; }
  __device__ void synchronise() const { __syncwarp(); }
};

// Keys of a map: lane l holds those of positions l, l + 32 and so on; 0 where there is none.
template <int count>
struct WarpKeys {
  std::uint32_t key[count];

  __device__ std::uint32_t num_from(std::uint32_t least) const {
    std::uint32_t found = 0;
#pragma unroll
    for (int v = 0; v < count; ++v) found += key[v] >= least ? 1u : 0u;
    return warp_sum(found);
  }

  __device__ Cut cut(std::uint32_t size,
                     std::uint32_t k,
                     std::uint32_t high,
                     std::uint32_t low) const {
    if (k == size) return {0u, 0u};
    const CommonPrefix common = common_prefix(high, low);
    std::uint32_t prefix = common.prefix;
    std::uint32_t above = 0;  // keys from the lowest candidate on that had too few
    for (int bit = common.bits - 1; bit >= 0; --bit) {
      const std::uint32_t candidate = prefix | (1u << bit);
      const std::uint32_t found = num_from(candidate);
      if (found == k) return {candidate - 1, 0u};
      if (found > k) {
        prefix = candidate;
      } else {
        above = found;
      }
    }
    return {prefix, k - above};
  }

  // Appends the entries of the selected keys in the order of positions.
  __device__ void write_entries(const Cut& cut, std::uint64_t* entries) const {
    const std::uint32_t lane = threadIdx.x % kWarpSize;
    const unsigned before_mask = (1u << lane) - 1u;
    std::uint32_t num_ties = 0;
    std::uint32_t num_entries = 0;
#pragma unroll
    for (int v = 0; v < count; ++v) {
      const bool tie = key[v] == cut.threshold;
      const unsigned ties = __ballot_sync(cuda::kAllLanes, tie);
      const std::uint32_t rank = num_ties + static_cast<std::uint32_t>(__popc(ties & before_mask));
      const bool chosen = key[v] > cut.threshold || (tie && rank < cut.num_ties);
      const unsigned all = __ballot_sync(cuda::kAllLanes, chosen);
      if (chosen) {
        entries[num_entries + static_cast<std::uint32_t>(__popc(all & before_mask))] =
            entry_of(key[v], static_cast<std::uint32_t>(v) * kWarpSize + lane);
      }
      num_ties += static_cast<std::uint32_t>(__popc(ties));
      num_entries += static_cast<std::uint32_t>(__popc(all));
    }
  }
};

// Maps of up to 32 * count values.
template <int count, typename T>
__global__ void __launch_bounds__(kThreads) pool_by_warps(Arguments<T> a) {
  const WarpGroup group;
  const std::int64_t warp = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpSize;
  const std::int64_t num_warps = std::int64_t{gridDim.x} * kWarps;
  for (std::int64_t map = warp; map < a.num_maps; map += num_warps) {
    const T* const values = a.maps + map * a.size;
    WarpKeys<count> keys;
    std::uint32_t high = 0u;
    std::uint32_t low = ~0u;
    bool any_nan = false;
#pragma unroll
    for (int v = 0; v < count; ++v) {
      const std::uint32_t i = static_cast<std::uint32_t>(v) * kWarpSize + group.rank();
      keys.key[v] = 0u;
      if (i < a.size) {
        const float value = cuda::to_float(values[i]);
        any_nan = any_nan || value != value;
        const std::uint32_t key = key_of(value);
        keys.key[v] = key;
        high = key > high ? key : high;
        low = key < low ? key : low;
      }
    }
    if (__any_sync(cuda::kAllLanes, any_nan)) {
      write_nan(group, a, map);
      continue;
    }
    high = warp_max(high);
    low = warp_min(low);
    write_pooled(group, a, map, [&](std::uint32_t k, std::uint32_t flip, std::uint64_t* entries) {
      if (flip != 0u) {
#pragma unroll
        for (int v = 0; v < count; ++v) {
          const std::uint32_t i = static_cast<std::uint32_t>(v) * kWarpSize + group.rank();
          if (i < a.size) keys.key[v] = ~keys.key[v];
        }
      }
      const Cut cut =
          flip == 0u ? keys.cut(a.size, k, high, low) : keys.cut(a.size, k, ~low, ~high);
      double sum = 0.0;
#pragma unroll
      for (int v = 0; v < count; ++v) {
        if (keys.key[v] > cut.threshold) sum += value_of(keys.key[v] ^ flip);
      }
      sum = warp_sum(sum);
      if (cut.num_ties > 0) {
        sum += static_cast<double>(cut.num_ties) * value_of(cut.threshold ^ flip);
      }
      if (entries != nullptr) {
        keys.write_entries(cut, entries);
        finish_indices(group, entries, k);
      }
      return sum / static_cast<double>(k);
    });
  }
}

// ---- a block a map ----

struct BlockGroup {
  __device__ std::uint32_t rank() const { return threadIdx.x; }
  __device__ std::uint32_t size() const { return kBlockThreads; }
  __device__ void synchronise() const { __syncthreads(); }
};

struct BlockScratch {
  std::uint32_t counts[kDigits];
  std::uint32_t warp_counts[kBlockWarps];
  double warp_sums[kBlockWarps];
  std::uint32_t digit;
  std::uint32_t above;  // keys of higher digits
  std::uint32_t here;   // keys of the digit
  std::uint32_t num_entries;
  std::uint32_t high;
  std::uint32_t low;
};

// The digit that holds the k-th highest of the counted keys, to scratch.{digit, above, here}.
__device__ inline void find_digit(BlockScratch& scratch, std::uint32_t k) {
  const std::uint32_t thread = threadIdx.x;
  const std::uint32_t lane = thread % kWarpSize;
  const std::uint32_t upper = kDigits - 1 - 2 * thread;
  const std::uint32_t upper_count = scratch.counts[upper];
  const std::uint32_t both = upper_count + scratch.counts[upper - 1];
  std::uint32_t upto = both;  // of this warp's digits, from the highest to this thread's
#pragma unroll
  for (int distance = 1; distance < kWarpSize; distance *= 2) {
    const std::uint32_t other = __shfl_up_sync(cuda::kAllLanes, upto, distance);
    if (lane >= static_cast<std::uint32_t>(distance)) upto += other;
  }
  if (lane == kWarpSize - 1) scratch.warp_counts[thread / kWarpSize] = upto;
  __syncthreads();
  for (std::uint32_t warp = 0; warp < thread / kWarpSize; ++warp) upto += scratch.warp_counts[warp];
  const std::uint32_t above = upto - both;
  if (above < k && k <= upto) {
    const bool in_upper = k <= above + upper_count;
    scratch.digit = in_upper ? upper : upper - 1;
    scratch.above = in_upper ? above : above + upper_count;
    scratch.here = in_upper ? upper_count : both - upper_count;
  }
  __syncthreads();
}

// The k highest of the keys between `low` and `high` that key_at(i, key) gives for i below `size`;
// it says false where there is none.
template <typename KeyAt>
__device__ inline Cut block_cut(BlockScratch& scratch,
                                std::uint32_t size,
                                std::uint32_t k,
                                std::uint32_t high,
                                std::uint32_t low,
                                const KeyAt& key_at) {
  const CommonPrefix common = common_prefix(high, low);
  std::uint32_t prefix = common.prefix;
  int bits = common.bits;
  while (bits > 0) {
    const int shift = bits > kDigitBits ? bits - kDigitBits : 0;
    const std::uint32_t digit_mask = (1u << (bits - shift)) - 1u;
    for (std::uint32_t i = threadIdx.x; i < kDigits; i += kBlockThreads) scratch.counts[i] = 0u;
    __syncthreads();
    for (std::uint32_t i = threadIdx.x; i < size; i += kBlockThreads) {
      std::uint32_t key = 0u;
      if (!key_at(i, key)) continue;
      const bool counted = bits == 32 || (key ^ prefix) >> bits == 0u;
      if (counted) atomicAdd(&scratch.counts[(key >> shift) & digit_mask], 1u);
    }
    __syncthreads();
    find_digit(scratch, k);
    prefix |= scratch.digit << shift;
    k -= scratch.above;
    if (k == scratch.here) return {prefix - 1u, 0u};
    bits = shift;
  }
  return {prefix, k};
}

template <typename T>
__global__ void __launch_bounds__(kBlockThreads) pool_by_blocks(Arguments<T> a) {
  __shared__ BlockScratch scratch;
  const BlockGroup group;
  const std::uint32_t thread = threadIdx.x;
  for (std::int64_t map = blockIdx.x; map < a.num_maps; map += gridDim.x) {
    const T* const values = a.maps + map * a.size;
    if (thread == 0) {
      scratch.high = 0u;
      scratch.low = ~0u;
    }
    __syncthreads();
    std::uint32_t high = 0u;
    std::uint32_t low = ~0u;
    for (std::uint32_t i = thread; i < a.size; i += kBlockThreads) {
      const float value = cuda::to_float(values[i]);
      const std::uint32_t key = value != value ? ~0u : key_of(value);  // a NaN is above all
      high = key > high ? key : high;
      low = key < low ? key : low;
    }
    high = warp_max(high);
    low = warp_min(low);
    if (thread % kWarpSize == 0) {
      atomicMax(&scratch.high, high);
      atomicMin(&scratch.low, low);
    }
    __syncthreads();
    high = scratch.high;
    low = scratch.low;
    __syncthreads();
    if (high == ~0u) {
      write_nan(group, a, map);
      continue;
    }
    write_pooled(group, a, map, [&](std::uint32_t k, std::uint32_t flip, std::uint64_t* entries) {
      const auto key_at = [&](std::uint32_t i, std::uint32_t& key) {
        key = key_of(cuda::to_float(values[i])) ^ flip;
        return true;
      };
      const Cut cut = flip == 0u ? block_cut(scratch, a.size, k, high, low, key_at)
                                 : block_cut(scratch, a.size, k, ~low, ~high, key_at);
      double sum = 0.0;
      for (std::uint32_t i = thread; i < a.size; i += kBlockThreads) {
        std::uint32_t key = 0u;
        key_at(i, key);
        if (key > cut.threshold) sum += value_of(key ^ flip);
      }
      sum = warp_sum(sum);
      if (thread % kWarpSize == 0) scratch.warp_sums[thread / kWarpSize] = sum;
      if (thread == 0) scratch.num_entries = 0u;
      __syncthreads();
      sum = 0.0;
      for (int warp = 0; warp < kBlockWarps; ++warp) sum += scratch.warp_sums[warp];
      if (cut.num_ties > 0) {
        sum += static_cast<double>(cut.num_ties) * value_of(cut.threshold ^ flip);
      }
      if (entries != nullptr) {
        // The ties of the lowest positions are the highest of the inverted positions.
        Cut ties{~0u, 0u};
        if (cut.num_ties > 0) {
          ties = block_cut(scratch,
                           a.size,
                           cut.num_ties,
                           ~0u,
                           ~(a.size - 1u),
                           [&](std::uint32_t i, std::uint32_t& key) {
                             key_at(i, key);
                             const bool tie = key == cut.threshold;
                             key = ~i;
                             return tie;
                           });
        }
        for (std::uint32_t i = thread; i < a.size; i += kBlockThreads) {
          std::uint32_t key = 0u;
          key_at(i, key);
          const bool tie = key == cut.threshold && cut.num_ties > 0 && ~i > ties.threshold;
          if (key > cut.threshold || tie) {
            entries[atomicAdd(&scratch.num_entries, 1u)] = entry_of(key, i);
          }
        }
        finish_indices(group, entries, k);
      }
      __syncthreads();
      return sum / static_cast<double>(k);
    });
  }
}

}  // namespace

template <typename T>
Status run_cuda(const Params& params, const Inputs<T>& in, Outputs<T>& out, Context& context) {
  const std::int64_t size = in.features.shape[2] * in.features.shape[3];
  if (size > std::numeric_limits<std::int32_t>::max()) {
    return failure(StatusCode::kInvalidShape,
                   "weldon_pool: x has shape ",
                   in.features.shape,
                   ", expected maps of less than 2^31 values on a GPU");
  }
  const Arguments<T> arguments{in.features.data,
                               out.pooled.data,
                               reinterpret_cast<std::uint64_t*>(out.max_indices.data),
                               reinterpret_cast<std::uint64_t*>(out.min_indices.data),
                               out.pooled.size(),
                               static_cast<std::uint32_t>(size),
                               static_cast<std::uint32_t>(std::min(params.k_max, size)),
                               static_cast<std::uint32_t>(std::min(params.k_min, size)),
                               params.alpha};
  const auto start = [&](std::int64_t maps_per_block, int threads, void (*kernel)(Arguments<T>)) {
    const std::int64_t blocks = (arguments.num_maps + maps_per_block - 1) / maps_per_block;
    return cuda::launch("weldon_pool",
                        context.stream,
                        dim3(cuda::num_blocks(blocks)),
                        static_cast<unsigned>(threads),
                        kernel,
                        arguments);
  };
  if (size <= 2 * kWarpSize) return start(kWarps, kThreads, pool_by_warps<2, T>);
  if (size <= 8 * kWarpSize) return start(kWarps, kThreads, pool_by_warps<8, T>);
  if (size <= 32 * kWarpSize) return start(kWarps, kThreads, pool_by_warps<32, T>);
  return start(1, kBlockThreads, pool_by_blocks<T>);
}

template Status run_cuda(const Params&, const Inputs<float>&, Outputs<float>&, Context&);
template Status run_cuda(const Params&, const Inputs<Half>&, Outputs<Half>&, Context&);

}  // namespace vinfer::weldon_pool
