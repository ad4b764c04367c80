#include "ops/letterbox/letterbox_cpu_kernels.h"

#include <utility>

#include "core/simd.h"

// kLanes output pixels at a time. The bytes of their source pixels lie anywhere, so they are loaded
// one pixel at a time, 8 bytes that hold both horizontal neighbours, or two pixels at a time, 16
// bytes; everything after that is arithmetic on vectors. Gather instructions are slower: on Zen 4
// the bilinear kernel took 1.36 ns a pixel with them, 1.07 with single loads, 0.84 with pairs.
namespace vinfer::letterbox::VINFER_LEVEL {
using namespace vinfer::VINFER_LEVEL;
namespace {

static_assert(kLanes <= kMaxLanes);

using U32 = std::uint32_t __attribute__((vector_size(4 * kLanes)));

struct Rgb {
  F32 channel[kChannels];
};

// Bytes 0 to 3 and 3 to 6 from each of kLanes places: of an RGB image, a pixel and the next one.
struct Words {
  U32 low;
  U32 high;
};

#if defined(__x86_64__)
// The 8 bytes at each of two places.
VINFER_INLINE __m128i load_two(const std::uint8_t* row, std::int64_t first, std::int64_t second) {
  const __m128i low = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(row + first));
  return _mm_castps_si128(
      _mm_loadh_pi(_mm_castsi128_ps(low), reinterpret_cast<const __m64*>(row + second)));
}
#endif

#if defined(__AVX2__)
// Two of four places for each of two 128-bit lanes.
VINFER_INLINE __m256i load_four(const std::uint8_t* row, const std::int64_t* offsets) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(load_two(row, offsets[0], offsets[1])),
                                 load_two(row, offsets[4], offsets[5]),
                                 1);
}
#endif

#if defined(__AVX512F__)
VINFER_INLINE __m512i load_eight(const std::uint8_t* row, const std::int64_t* offsets) {
  const __m512i first = _mm512_castsi256_si512(load_four(row, offsets));
  return _mm512_inserti64x4(first, load_four(row, offsets + 8), 1);
}

// The first words of each 64 bits of `even` and of `odd`.
VINFER_INLINE U32 first_words(__m512i even, __m512i odd) {
  return reinterpret_cast<U32>(
      _mm512_shuffle_ps(_mm512_castsi512_ps(even), _mm512_castsi512_ps(odd), 0x88));
}
#elif defined(__AVX2__)
VINFER_INLINE U32 first_words(__m256i even, __m256i odd) {
  return reinterpret_cast<U32>(
      _mm256_shuffle_ps(_mm256_castsi256_ps(even), _mm256_castsi256_ps(odd), 0x88));
}
#elif defined(__x86_64__)
VINFER_INLINE U32 first_words(__m128i even, __m128i odd) {
  return reinterpret_cast<U32>(_mm_shuffle_ps(_mm_castsi128_ps(even), _mm_castsi128_ps(odd), 0x88));
}
#endif

// Each 128-bit lane takes four neighbouring places, so that no shuffle has to cross lanes.
VINFER_INLINE Words load_words(const std::uint8_t* row, const std::int64_t* offsets) {
#if defined(__AVX512F__)
  const __m512i even = load_eight(row, offsets);
  const __m512i odd = load_eight(row, offsets + 2);
  return {first_words(even, odd),
          first_words(_mm512_srli_epi64(even, 24), _mm512_srli_epi64(odd, 24))};
#elif defined(__AVX2__)
  const __m256i even = load_four(row, offsets);
  const __m256i odd = load_four(row, offsets + 2);
  return {first_words(even, odd),
          first_words(_mm256_srli_epi64(even, 24), _mm256_srli_epi64(odd, 24))};
#elif defined(__x86_64__)
  const __m128i even = load_two(row, offsets[0], offsets[1]);
  const __m128i odd = load_two(row, offsets[2], offsets[3]);
  return {first_words(even, odd), first_words(_mm_srli_epi64(even, 24), _mm_srli_epi64(odd, 24))};
#else
  Words words;
  for (int i = 0; i < kLanes; ++i) {
    words.low[i] = load_as<std::uint32_t>(row + offsets[i]);
    words.high[i] = load_as<std::uint32_t>(row + offsets[i] + 3);
  }
  return words;
#endif
}

// kLanes bytes; compilers take __builtin_convertvector of them apart.
VINFER_INLINE I32 load_bytes(const std::uint8_t* from) {
#if defined(__AVX512F__)
  return reinterpret_cast<I32>(_mm512_cvtepu8_epi32(load_as<__m128i>(from)));
#elif defined(__AVX2__)
  return reinterpret_cast<I32>(
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
#else
  return __builtin_convertvector(load_as<U8>(from), I32);
#endif
}

VINFER_INLINE F32 to_float(I32 value) { return __builtin_convertvector(value, F32); }

VINFER_INLINE F32 lerp(F32 low, F32 high, F32 fraction) { return low + (high - low) * fraction; }

// `mask` keeps one byte of a word. Left where it is, it stands for 2^8 or 2^16 times its value, and
// so does whatever is computed from it: scaling by a power of two commutes with rounding.
VINFER_INLINE I32 masked(U32 word, std::uint32_t mask) {
  return reinterpret_cast<I32>(word & mask);
}

// Between the same bytes of two rows. Their difference is exact in integers as in float32, and
// cheaper there.
VINFER_INLINE F32 lerp_bytes(U32 low, U32 high, std::uint32_t mask, F32 fraction) {
  const I32 low_byte = masked(low, mask);
  return to_float(low_byte) + to_float(masked(high, mask) - low_byte) * fraction;
}

VINFER_INLINE F32 lerp_bytes(
    const Words& low, const Words& high, std::uint32_t mask, F32 row_fraction, F32 fraction) {
  return lerp(lerp_bytes(low.low, high.low, mask, row_fraction),
              lerp_bytes(low.high, high.high, mask, row_fraction),
              fraction);
}

// The pixels at the start of each word.
VINFER_INLINE Rgb rgb_of(U32 word) {
  return {{to_float(masked(word, 0xffu)),
           to_float(masked(word, 0xff00u)) * 0x1p-8f,
           to_float(masked(word, 0xff0000u)) * 0x1p-16f}};
}

// ---- sources: sample(x) gives the pixels of kLanes columns of the picture from column x on ----

VINFER_INLINE Rgb bilinear(const Words& low, const Words& high, F32 row_fraction, F32 fraction) {
  return {{lerp_bytes(low, high, 0xffu, row_fraction, fraction),
           lerp_bytes(low, high, 0xff00u, row_fraction, fraction) * 0x1p-8f,
           lerp_bytes(low, high, 0xff0000u, row_fraction, fraction) * 0x1p-16f}};
}

struct BilinearRgb {
  const std::uint8_t* low;
  const std::uint8_t* high;
  const ColumnTaps& taps;
  F32 row_fraction;

  VINFER_INLINE Rgb sample(const BilinearRgb& s, std::int64_t x) {
    const Words low = load_words(s.low, s.taps.offsets + x);
    const Words high = load_words(s.high, s.taps.offsets + x);
    return bilinear(low, high, s.row_fraction, load(s.taps.fractions + x));
  }
};

#if defined(__AVX2__)
// The same for columns in pairs: half as many loads, each of two pixels and their neighbours.
struct PairedRgb {
  const std::uint8_t* low;
  const std::uint8_t* high;
  const ColumnTaps& taps;
  F32 row_fraction;

  static constexpr std::int64_t kOddPairs = kMaxLanes / 4 * kPairBytes;  // where they start

  VINFER_INLINE __m256i load_pairs(const std::uint8_t* row, const std::int64_t* offsets) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load_as<__m128i>(row + offsets[0])),
                                   load_as<__m128i>(row + offsets[4]),
                                   1);
  }

  VINFER_INLINE Words load_words(const PairedRgb& s, const std::uint8_t* row, std::int64_t x) {
    const std::int64_t* const offsets = s.taps.offsets + x;
    const std::uint8_t* const shuffles = s.taps.pair_shuffles +
                                         x / kMaxLanes * kMaxLanes * (kPairBytes / 2) +
                                         x % kMaxLanes * (kPairBytes / 4);
#if defined(__AVX512F__)
    const auto even_first = _mm512_castsi256_si512(load_pairs(row, offsets));
    const auto odd_first = _mm512_castsi256_si512(load_pairs(row, offsets + 2));
    const __m512i even =
        _mm512_shuffle_epi8(_mm512_inserti64x4(even_first, load_pairs(row, offsets + 8), 1),
                            load_as<__m512i>(shuffles));
    const __m512i odd =
        _mm512_shuffle_epi8(_mm512_inserti64x4(odd_first, load_pairs(row, offsets + 10), 1),
                            load_as<__m512i>(shuffles + kOddPairs));
    const __m512 a = _mm512_castsi512_ps(even);
    const __m512 b = _mm512_castsi512_ps(odd);
    return {reinterpret_cast<U32>(_mm512_shuffle_ps(a, b, 0x88)),
            reinterpret_cast<U32>(_mm512_shuffle_ps(a, b, 0xdd))};
#else
    const __m256 a = _mm256_castsi256_ps(
        _mm256_shuffle_epi8(load_pairs(row, offsets), load_as<__m256i>(shuffles)));
    const __m256 b = _mm256_castsi256_ps(
        _mm256_shuffle_epi8(load_pairs(row, offsets + 2), load_as<__m256i>(shuffles + kOddPairs)));
    return {reinterpret_cast<U32>(_mm256_shuffle_ps(a, b, 0x88)),
            reinterpret_cast<U32>(_mm256_shuffle_ps(a, b, 0xdd))};
#endif
  }

  VINFER_INLINE Rgb sample(const PairedRgb& s, std::int64_t x) {
    const Words low = load_words(s, s.low, x);
    const Words high = load_words(s, s.high, x);
    return bilinear(low, high, s.row_fraction, load(s.taps.fractions + x));
  }
};
#endif

struct ExactRgb {
  const std::uint8_t* row;
  const ColumnTaps& taps;

  VINFER_INLINE Rgb sample(const ExactRgb& s, std::int64_t x) {
    return rgb_of(load_words(s.row, s.taps.offsets + x).low);
  }
};

#if defined(__AVX2__)
// kLanes neighbouring pixels. Reads up to kBytes.
struct ContiguousRgb {
  static constexpr std::int64_t kBytes = kLanes == 16 ? 64 : 28;
  const std::uint8_t* row;

  VINFER_INLINE Rgb sample(const ContiguousRgb& s, std::int64_t x) {
    const std::uint8_t* const from = s.row + x * kChannels;
    const __m128i spread = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
#if defined(__AVX512F__)
    const __m512i twelves = _mm512_setr_epi32(0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9, 10, 11, 12);
    const __m512i bytes = _mm512_permutexvar_epi32(twelves, _mm512_loadu_si512(from));
    const __m512i pixels = _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(spread));
#else
    const __m256i bytes = _mm256_inserti128_si256(
        _mm256_castsi128_si256(load_as<__m128i>(from)), load_as<__m128i>(from + 12), 1);
    const __m256i pixels = _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(spread));
#endif
    return rgb_of(reinterpret_cast<U32>(pixels));
  }
};
#endif

struct BilinearNv12 {
  const std::uint8_t* y_low;
  const std::uint8_t* y_high;
  const ColumnTaps& y_taps;
  F32 y_fraction;
  const std::uint8_t* uv_low;
  const std::uint8_t* uv_high;
  const ColumnTaps& uv_taps;
  F32 uv_fraction;
  const YuvToRgb& colors;

  VINFER_INLINE F32 clamp(F32 value) {
    const F32 least{};
    const F32 most = broadcast(255.0f);
    value = value > least ? value : least;
    return value < most ? value : most;
  }

  VINFER_INLINE Rgb sample(const BilinearNv12& s, std::int64_t x) {
    const U32 low = load_words(s.y_low, s.y_taps.offsets + x).low;
    const U32 high = load_words(s.y_high, s.y_taps.offsets + x).low;
    const F32 luma = lerp_bytes(
        {low, low >> 8}, {high, high >> 8}, 0xffu, s.y_fraction, load(s.y_taps.fractions + x));
    const U32 uv_low = load_words(s.uv_low, s.uv_taps.offsets + x).low;
    const U32 uv_high = load_words(s.uv_high, s.uv_taps.offsets + x).low;
    const Words chroma_low{uv_low, uv_low >> 16};
    const Words chroma_high{uv_high, uv_high >> 16};
    const F32 fraction = load(s.uv_taps.fractions + x);
    const F32 blue_difference = lerp_bytes(chroma_low, chroma_high, 0xffu, s.uv_fraction, fraction);
    const F32 red_difference =
        lerp_bytes(chroma_low, chroma_high, 0xff00u, s.uv_fraction, fraction) * 0x1p-8f;
    const F32 y = (luma - s.colors.y_offset) * s.colors.y_scale;
    const F32 b = blue_difference - 128.0f;
    const F32 r = red_difference - 128.0f;
    return {{clamp(y + r * s.colors.red_r),
             clamp((y - b * s.colors.green_b) - r * s.colors.green_r),
             clamp(y + b * s.colors.blue_b)}};
  }
};

// ---- the output ----

// Vector k of three that hold R G B R G B ..., kLanes pixels in all.
template <int k, int... kLane>
VINFER_INLINE F32 interleaved(const Rgb& v, std::integer_sequence<int, kLane...>) {
  const F32 red_green = __builtin_shufflevector(
      v.channel[0],
      v.channel[1],
      ((k * kLanes + kLane) / kChannels + ((k * kLanes + kLane) % kChannels == 1 ? kLanes : 0))...);
  return __builtin_shufflevector(
      red_green,
      v.channel[2],
      ((k * kLanes + kLane) % kChannels == 2 ? kLanes + (k * kLanes + kLane) / kChannels
                                             : kLane)...);
}

#if defined(__AVX2__) && !defined(__AVX512F__)
VINFER_INLINE void store_four(float* to, __m128 value) { _mm_storeu_ps(to, value); }
VINFER_INLINE void store_four(Half* to, __m128 value) {
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
}

// kLanes pixels, R G B R G B ... No shuffle crosses 128-bit lanes, which costs several times as
// much: each lane is stored where it belongs.
template <typename T>
VINFER_INLINE void store_interleaved(const Rgb& v, T* to) {
  const auto r = reinterpret_cast<__m256>(v.channel[0]);
  const auto g = reinterpret_cast<__m256>(v.channel[1]);
  const auto b = reinterpret_cast<__m256>(v.channel[2]);
  const __m256 rg_low = _mm256_unpacklo_ps(r, g);   // r0 g0 r1 g1
  const __m256 rg_high = _mm256_unpackhi_ps(r, g);  // r2 g2 r3 g3
  const __m256 b0_r1 = _mm256_shuffle_ps(b, r, _MM_SHUFFLE(1, 1, 0, 0));
  const __m256 g1_b1 = _mm256_shuffle_ps(g, b, _MM_SHUFFLE(1, 1, 1, 1));
  const __m256 b2_r3 = _mm256_shuffle_ps(b, rg_high, _MM_SHUFFLE(2, 2, 2, 2));
  const __m256 g3_b3 = _mm256_shuffle_ps(rg_high, b, _MM_SHUFFLE(3, 3, 3, 3));
  const __m256 fours[kChannels] = {_mm256_shuffle_ps(rg_low, b0_r1, _MM_SHUFFLE(2, 0, 1, 0)),
                                   _mm256_shuffle_ps(g1_b1, rg_high, _MM_SHUFFLE(1, 0, 2, 0)),
                                   _mm256_shuffle_ps(b2_r3, g3_b3, _MM_SHUFFLE(2, 0, 2, 0))};
  for (int k = 0; k < kChannels; ++k) {
    store_four(to + 4 * k, _mm256_castps256_ps128(fours[k]));
    store_four(to + 4 * (k + kChannels), _mm256_extractf128_ps(fours[k], 1));
  }
}
#endif

// The first `count` lanes, 1 <= count <= kLanes, to columns from x on.
template <bool kInterleaved, typename T>
VINFER_INLINE void write(
    const Rgb& v, std::int64_t plane, std::int64_t x, std::int64_t count, T* out) {
  if constexpr (kInterleaved) {
#if defined(__AVX2__) && !defined(__AVX512F__)
    if (count >= kLanes) {
      store_interleaved(v, out + x * kChannels);
      return;
    }
#endif
    const std::make_integer_sequence<int, kLanes> lanes;
    const F32 vectors[kChannels] = {
        interleaved<0>(v, lanes), interleaved<1>(v, lanes), interleaved<2>(v, lanes)};
    T* const to = out + x * kChannels;
    for (int k = 0; k < kChannels; ++k) {
      const std::int64_t left = count * kChannels - k * kLanes;
      if (left >= kLanes) {
        store(to + k * kLanes, vectors[k]);
      } else if (left > 0) {
        store_first(to + k * kLanes, vectors[k], left);
      }
    }
  } else {
    for (int c = 0; c < kChannels; ++c) {
      T* const to = out + c * plane + x;
      if (count >= kLanes) {
        store(to, v.channel[c]);
      } else {
        store_first(to, v.channel[c], count);
      }
    }
  }
}

struct Normalise {
  F32 mean[kChannels];
  F32 inverse_std[kChannels];
  bool swap_channels;

  VINFER_INLINE Normalise from(const Format& format) {
    Normalise n;
    for (int c = 0; c < kChannels; ++c) {
      n.mean[c] = broadcast(format.mean[c]);
      n.inverse_std[c] = broadcast(format.inverse_std[c]);
    }
    n.swap_channels = format.swap_channels;
    return n;
  }

  VINFER_INLINE Rgb apply(const Normalise& n, Rgb v) {
    if (n.swap_channels) v = {{v.channel[2], v.channel[1], v.channel[0]}};
    for (int c = 0; c < kChannels; ++c) {
      v.channel[c] = (v.channel[c] - n.mean[c]) * n.inverse_std[c];
    }
    return v;
  }
};

template <bool kInterleaved, typename Source, typename T>
VINFER_INLINE void copy_columns_as(
    const Source& source, const Format& format, std::int64_t first, std::int64_t last, T* out) {
  const Normalise normalise = Normalise::from(format);
  std::int64_t x = first;
  for (; x + kLanes <= last; x += kLanes) {
    const Rgb v = Normalise::apply(normalise, Source::sample(source, x));
    write<kInterleaved>(v, format.plane, x, kLanes, out);
  }
  if (x == last) return;
  const Rgb v = Normalise::apply(normalise, Source::sample(source, x));
  write<kInterleaved>(v, format.plane, x, last - x, out);
}

// Columns [first, last) of the picture from the source.
template <typename Source, typename T>
VINFER_INLINE void copy_columns(
    const Source& source, const Format& format, std::int64_t first, std::int64_t last, T* out) {
  if (first >= last) return;
  if (format.interleaved) {
    copy_columns_as<true>(source, format, first, last, out);
  } else {
    copy_columns_as<false>(source, format, first, last, out);
  }
}

// Pixels [0, last) of a row to the same places of an interleaved output, kLanes at a time: a byte
// becomes a float where it is. Returns how many there were.
template <typename T>
VINFER_INLINE std::int64_t copy_in_place(const std::uint8_t* row,
                                         const Format& format,
                                         std::int64_t last,
                                         T* out) {
  F32 mean[kChannels];
  F32 inverse_std[kChannels];
  for (int i = 0; i < kChannels * kLanes; ++i) {
    mean[i / kLanes][i % kLanes] = format.mean[i % kChannels];
    inverse_std[i / kLanes][i % kLanes] = format.inverse_std[i % kChannels];
  }
  std::int64_t x = 0;
  for (; x + kLanes <= last; x += kLanes) {
    for (int k = 0; k < kChannels; ++k) {
      const std::int64_t i = x * kChannels + k * kLanes;
      const F32 value = to_float(load_bytes(row + i));
      store(out + i, (value - mean[k]) * inverse_std[k]);
    }
  }
  return x;
}

// A copy of the end of a row, followed by zeros: where they count as a neighbour, the fraction is
// 0.
struct Tail {
  std::uint8_t bytes[kMaxCopiedRowBytes + kTapBytes];

  VINFER_INLINE void copy(const std::uint8_t* row, const ColumnTaps& taps, Tail& tail) {
    std::memset(tail.bytes, 0, sizeof(tail.bytes));
    std::memcpy(tail.bytes, row + taps.tail_begin, static_cast<std::size_t>(taps.tail_bytes));
  }
};

template <typename T>
void resample_rgb_row(const RowPair& rows, const ColumnTaps& taps, const Format& format, T* out) {
  const std::int64_t end = taps.num_columns;
  Tail low;
  Tail::copy(rows.low, taps, low);
  if (taps.exact && rows.fraction == 0.0f) {
    std::int64_t x = 0;
    if (taps.contiguous && format.interleaved && !format.swap_channels) {
      x = copy_in_place(rows.low, format, end, out);
    }
#if defined(__AVX2__)
    const std::int64_t row_bytes = end * kChannels;
    if (taps.contiguous && x == 0 && row_bytes >= ContiguousRgb::kBytes) {
      x = ((row_bytes - ContiguousRgb::kBytes) / (kChannels * kLanes) + 1) * kLanes;
      copy_columns(ContiguousRgb{rows.low}, format, 0, x, out);
    }
#endif
    copy_columns(ExactRgb{rows.low, taps}, format, x, taps.num_before_tail, out);
    if (x < taps.num_before_tail) x = taps.num_before_tail;
    copy_columns(ExactRgb{low.bytes, taps}, format, x, end, out);
    return;
  }
  Tail high;
  Tail::copy(rows.high, taps, high);
  const F32 fraction = broadcast(rows.fraction);
  const BilinearRgb source{rows.low, rows.high, taps, fraction};
  const BilinearRgb tail{low.bytes, high.bytes, taps, fraction};
  std::int64_t x = 0;
#if defined(__AVX2__)
  x = taps.num_paired;
  copy_columns(PairedRgb{rows.low, rows.high, taps, fraction}, format, 0, x, out);
#endif
  copy_columns(source, format, x, taps.num_before_tail, out);
  copy_columns(tail, format, taps.num_before_tail, end, out);
}

template <typename T>
void resample_nv12_row(const RowPair& y_rows,
                       const ColumnTaps& y_taps,
                       const RowPair& uv_rows,
                       const ColumnTaps& uv_taps,
                       const YuvToRgb& colors,
                       const Format& format,
                       T* out) {
  Tail y_low;
  Tail y_high;
  Tail uv_low;
  Tail uv_high;
  Tail::copy(y_rows.low, y_taps, y_low);
  Tail::copy(y_rows.high, y_taps, y_high);
  Tail::copy(uv_rows.low, uv_taps, uv_low);
  Tail::copy(uv_rows.high, uv_taps, uv_high);
  const F32 y_fraction = broadcast(y_rows.fraction);
  const F32 uv_fraction = broadcast(uv_rows.fraction);
  const BilinearNv12 source{y_rows.low,
                            y_rows.high,
                            y_taps,
                            y_fraction,
                            uv_rows.low,
                            uv_rows.high,
                            uv_taps,
                            uv_fraction,
                            colors};
  const BilinearNv12 tail{y_low.bytes,
                          y_high.bytes,
                          y_taps,
                          y_fraction,
                          uv_low.bytes,
                          uv_high.bytes,
                          uv_taps,
                          uv_fraction,
                          colors};
  copy_columns(source, format, 0, y_taps.num_before_tail, out);
  copy_columns(tail, format, y_taps.num_before_tail, y_taps.num_columns, out);
}

template <bool kInterleaved, typename T>
VINFER_INLINE void fill_row_as(const Format& format,
                               std::int64_t first,
                               std::int64_t last,
                               T* out) {
  Rgb v;
  for (int c = 0; c < kChannels; ++c) v.channel[c] = broadcast(format.padding[c]);
  std::int64_t x = first;
  for (; x + kLanes <= last; x += kLanes) write<kInterleaved>(v, format.plane, x, kLanes, out);
  if (x < last) write<kInterleaved>(v, format.plane, x, last - x, out);
}

template <typename T>
void fill_row(const Format& format, std::int64_t first, std::int64_t last, T* out) {
  if (format.interleaved) {
    fill_row_as<true>(format, first, last, out);
  } else {
    fill_row_as<false>(format, first, last, out);
  }
}

}  // namespace

Kernels<float> float_kernels() {
  return {resample_rgb_row<float>, resample_nv12_row<float>, fill_row<float>};
}

Kernels<Half> half_kernels() {
  return {resample_rgb_row<Half>, resample_nv12_row<Half>, fill_row<Half>};
}

}  // namespace vinfer::letterbox::VINFER_LEVEL
