// Random calls of every op: shapes, settings and values, good and bad, in memory of exactly the
// promised size, at every CPU level, with and without threads. Meant for ASan and UBSan.
//
//   fuzz_ops [cases [seed [first]]]    cases of every op, from number `first` on
//
// What is found is told with the number of its case: `fuzz_ops 1 SEED NUMBER` repeats it.
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "fuzzing.h"

// The sanitizers end by abort(), so that what they find is told with its case too.
extern "C" const char* __asan_default_options() { return "abort_on_error=1"; }
extern "C" const char* __ubsan_default_options() { return "abort_on_error=1:print_stacktrace=1"; }

namespace vinfer::testing {

void fuzz_letterbox(Draw& draw);
void fuzz_positional_maps(Draw& draw);
void fuzz_roi_align(Draw& draw);
void fuzz_weldon_pool(Draw& draw);

namespace {

std::uint64_t seed = 1;
std::uint64_t number_of_case = 0;
bool finished = false;

void tell_case() {
  if (finished) return;
  std::fprintf(
      stderr, "fuzz_ops: case %" PRIu64 " of seed %" PRIu64 " failed\n", number_of_case, seed);
}

void tell_case_and_end(int) {
  tell_case();
  std::_Exit(1);
}

}  // namespace
}  // namespace vinfer::testing

int main(int argc, char** argv) {
  using namespace vinfer::testing;
  const auto argument = [&](int index, std::uint64_t otherwise) {
    return argc > index ? std::strtoull(argv[index], nullptr, 10) : otherwise;
  };
  const std::uint64_t num_cases = argument(1, 1500);
  seed = argument(2, seed);
  const std::uint64_t first = argument(3, 0);
  std::atexit(tell_case);
  std::signal(SIGABRT, tell_case_and_end);
  for (number_of_case = first; number_of_case < first + num_cases; ++number_of_case) {
    for (void (*const fuzz)(Draw&) :
         {fuzz_letterbox, fuzz_positional_maps, fuzz_roi_align, fuzz_weldon_pool}) {
      Draw draw(seed, number_of_case);
      fuzz(draw);
    }
  }
  finished = true;
  std::printf("%" PRIu64 " cases of every op passed\n", num_cases);
  return 0;
}
