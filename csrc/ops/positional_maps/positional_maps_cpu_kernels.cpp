#include "core/simd.h"

namespace vinfer::positional_maps::VINFER_LEVEL {
using namespace vinfer::VINFER_LEVEL;
}  // namespace vinfer::positional_maps::VINFER_LEVEL
