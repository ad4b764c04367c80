#pragma once

#include <algorithm>
#include <cstdint>

namespace vinfer {

// Runs independent tasks. What a task computes never depends on which thread runs it, so results do
// not depend on the number of threads either.
class Parallel {
 public:
  using Task = void (*)(const void* state, std::int64_t index);

  virtual ~Parallel() = default;
  // Threads that can work at once, the caller's included; at least 1.
  virtual std::int64_t num_threads() const = 0;
  // Calls task(state, i) for every i in [0, num_tasks) and returns when all have ended.
  virtual void run(std::int64_t num_tasks, Task task, const void* state) = 0;
};

// Work too small to be worth waking a thread for, about 20 microseconds of one core, counted in
// elements read or written.
inline constexpr std::int64_t kMinTaskElements = 1 << 15;
// More tasks than threads, so that a thread that starts late or is interrupted costs little.
inline constexpr std::int64_t kTasksPerThread = 4;

// Into how many tasks to split `num_items` items that take `num_elements` in all.
inline std::int64_t num_tasks_for(const Parallel* parallel,
                                  std::int64_t num_items,
                                  std::int64_t num_elements) {
  const std::int64_t num_threads = parallel == nullptr ? 1 : parallel->num_threads();
  if (num_threads <= 1) return std::min<std::int64_t>(num_items, 1);
  const std::int64_t worthwhile = std::max<std::int64_t>(1, num_elements / kMinTaskElements);
  return std::min({num_items, worthwhile, num_threads * kTasksPerThread});
}

// body(task, first, last) for num_tasks ranges of items that cover [0, num_items) once.
template <typename Body>
void parallel_for(Parallel* parallel,
                  std::int64_t num_items,
                  std::int64_t num_tasks,
                  const Body& body) {
  struct State {
    const Body& body;
    std::int64_t num_items;
    std::int64_t num_tasks;
  };
  const State state{body, num_items, num_tasks};
  const Parallel::Task run_range = [](const void* untyped, std::int64_t task) {
    const State& s = *static_cast<const State*>(untyped);
    const std::int64_t first = s.num_items * task / s.num_tasks;
    const std::int64_t last = s.num_items * (task + 1) / s.num_tasks;
    s.body(task, first, last);
  };
  if (num_tasks > 1 && parallel != nullptr) {
    parallel->run(num_tasks, run_range, &state);
    return;
  }
  for (std::int64_t task = 0; task < num_tasks; ++task) run_range(&state, task);
}

}  // namespace vinfer
