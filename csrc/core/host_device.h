#pragma once

// Marks the maths that CPU and CUDA share; empty for compilers that know no devices.
#ifdef __CUDACC__
#define VINFER_HD __host__ __device__
#else
#define VINFER_HD
#endif
