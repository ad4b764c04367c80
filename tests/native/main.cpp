#include <cstdio>

namespace vinfer::testing {
void test_letterbox();
void test_positional_maps();
void test_roi_align();
void test_weldon_pool();
}  // namespace vinfer::testing

int main() {
  vinfer::testing::test_letterbox();
  vinfer::testing::test_positional_maps();
  vinfer::testing::test_roi_align();
  vinfer::testing::test_weldon_pool();
  std::puts("all native tests passed");
  return 0;
}
