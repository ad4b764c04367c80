#include "core/simd.h"

namespace vinfer::letterbox::VINFER_LEVEL {
using namespace vinfer::VINFER_LEVEL;
}  // namespace vinfer::letterbox::VINFER_LEVEL
