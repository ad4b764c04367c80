// What stands in for the CUDA kernels in a build without them.
#include "core/half.h"
#include "ops/letterbox/letterbox.h"
#include "ops/positional_maps/positional_maps.h"
#include "ops/roi_align/roi_align.h"
#include "ops/weldon_pool/weldon_pool.h"

namespace vinfer {
namespace {

Status unavailable(const char* op) {
  return failure(StatusCode::kUnavailable,
                 op,
                 ": found arrays on a GPU, but this build of vinfer has no CUDA kernels; build it "
                 "where nvcc is found, or move the arrays to the CPU");
}

}  // namespace

namespace letterbox {

template <typename T>
Status run_cuda(const Params&, const Inputs&, TensorView<T, 3>, Context&) {
  return unavailable("letterbox");
}
template <typename T>
Status run_cuda(const Params&, const Nv12Inputs&, TensorView<T, 3>, Context&) {
  return unavailable("letterbox");
}
template Status run_cuda(const Params&, const Inputs&, TensorView<float, 3>, Context&);
template Status run_cuda(const Params&, const Inputs&, TensorView<Half, 3>, Context&);
template Status run_cuda(const Params&, const Nv12Inputs&, TensorView<float, 3>, Context&);
template Status run_cuda(const Params&, const Nv12Inputs&, TensorView<Half, 3>, Context&);

}  // namespace letterbox

namespace positional_maps {

template <typename T>
Status run_cuda(const Params&, const Inputs&, TensorView<T, 4>, Context&) {
  return unavailable("positional_maps");
}
template Status run_cuda(const Params&, const Inputs&, TensorView<float, 4>, Context&);
template Status run_cuda(const Params&, const Inputs&, TensorView<Half, 4>, Context&);

}  // namespace positional_maps

namespace roi_align {

template <typename T>
Status run_cuda(const Params&, const Inputs<T>&, Outputs<T>&, Context&) {
  return unavailable("roi_align");
}
template Status run_cuda(const Params&, const Inputs<float>&, Outputs<float>&, Context&);
template Status run_cuda(const Params&, const Inputs<Half>&, Outputs<Half>&, Context&);

Status run_backward_cuda(const Params&,
                         const BackwardInputs<float>&,
                         TensorView<float, 4>,
                         Context&) {
  return unavailable("roi_align_backward");
}

}  // namespace roi_align

namespace weldon_pool {

template <typename T>
Status run_cuda(const Params&, const Inputs<T>&, Outputs<T>&, Context&) {
  return unavailable("weldon_pool");
}
template Status run_cuda(const Params&, const Inputs<float>&, Outputs<float>&, Context&);
template Status run_cuda(const Params&, const Inputs<Half>&, Outputs<Half>&, Context&);

}  // namespace weldon_pool

}  // namespace vinfer
