#pragma once

#include <cstdint>

#include "core/cpu_level.h"
#include "core/half.h"
#include "ops/positional_maps/positional_maps.h"

// maps[i] = alpha + beta * t[i], for i < count.
#define VINFER_DECLARE(level)                                                              \
  namespace vinfer::positional_maps::level {                                               \
  void fill_float(const Affine& position, const float* t, std::int64_t count, float* map); \
  void fill_half(const Affine& position, const float* t, std::int64_t count, Half* map);   \
  }
VINFER_FOR_EACH_LEVEL(VINFER_DECLARE)
#undef VINFER_DECLARE
