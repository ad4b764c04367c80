#include "core/simd.h"

namespace vinfer::weldon_pool::VINFER_LEVEL {
using namespace vinfer::VINFER_LEVEL;
}  // namespace vinfer::weldon_pool::VINFER_LEVEL
