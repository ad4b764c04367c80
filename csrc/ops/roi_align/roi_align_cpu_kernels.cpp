#include "core/simd.h"

namespace vinfer::roi_align::VINFER_LEVEL {
using namespace vinfer::VINFER_LEVEL;
}  // namespace vinfer::roi_align::VINFER_LEVEL
