// The CUDA kernels, run on the CPU (see cuda_on_cpu.h) and compared with the CPU ops.
#include <cstdio>

namespace vinfer::testing {
void test_cuda_letterbox();
void test_cuda_positional_maps();
void test_cuda_roi_align();
void test_cuda_weldon_pool();
}  // namespace vinfer::testing

int main() {
  vinfer::testing::test_cuda_positional_maps();
  vinfer::testing::test_cuda_letterbox();
  vinfer::testing::test_cuda_weldon_pool();
  vinfer::testing::test_cuda_roi_align();
  std::puts("all CUDA kernels agree with the CPU");
  return 0;
}
