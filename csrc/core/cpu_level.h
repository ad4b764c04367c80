#pragma once

namespace vinfer {

// Instruction sets that the CPU kernels are compiled for, each containing the ones before it.
// Results are the same bit for bit at every level. On a machine that is not x86-64 there is only
// the baseline: its compiler's default, with NEON on AArch64.
enum class CpuLevel {
  kBaseline,  // x86-64: SSE2
  kAvx2,      // AVX2, FMA, F16C
  kAvx512,    // AVX-512 F, BW, DQ, VL
};

// The highest level that this machine and its operating system can run.
CpuLevel best_cpu_level();

// "baseline", "avx2" or "avx512".
const char* name_of(CpuLevel level);

}  // namespace vinfer

// Every level has its kernels in a namespace of its name: `f` of the best namespace up to `level`.
#ifdef __x86_64__
#define VINFER_FOR_EACH_LEVEL(declare) declare(baseline) declare(avx2) declare(avx512)
#define VINFER_SELECT_LEVEL(level, f)                   \
  ((level) == ::vinfer::CpuLevel::kAvx512 ? (avx512::f) \
   : (level) == ::vinfer::CpuLevel::kAvx2 ? (avx2::f)   \
                                          : (baseline::f))
#else
#define VINFER_FOR_EACH_LEVEL(declare) declare(baseline)
#define VINFER_SELECT_LEVEL(level, f) (static_cast<void>(level), (baseline::f))
#endif
