#include "core/thread_pool.h"

#include <chrono>
#include <system_error>

namespace vinfer {
namespace {

// A thread that sleeps takes tens of microseconds to come back, and often on the core of the one
// that woke it, where it waits for that one's work to end. So whoever waits looks first for a
// while, as long as a wake-up costs.
constexpr std::chrono::microseconds kLookBeforeSleep{50};

template <typename Condition>
void look_for(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + kLookBeforeSleep;
  while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
}

}  // namespace

ThreadPool::ThreadPool(std::int64_t num_threads) {
  try {
    for (std::int64_t i = 1; i < num_threads; ++i) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {
    // A limit on processes: the threads that did start are enough.
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

std::int64_t ThreadPool::num_threads() const {
  return static_cast<std::int64_t>(threads_.size()) + 1;
}

void ThreadPool::take_tasks(const Job& job) {
  for (;;) {
    const std::int64_t index = next_task_.fetch_add(1, std::memory_order_relaxed);
    if (index >= job.num_tasks) return;
    job.task(job.state, index);
  }
}

void ThreadPool::run(std::int64_t num_tasks, Task task, const void* state) {
  const std::unique_lock busy(busy_, std::try_to_lock);
  if (!busy.owns_lock() || threads_.empty() || num_tasks <= 1) {
    for (std::int64_t i = 0; i < num_tasks; ++i) task(state, i);
    return;
  }
  const Job job{task, state, num_tasks};
  {
    const std::lock_guard lock(mutex_);
    job_ = job;
    job_id_.fetch_add(1, std::memory_order_relaxed);
    next_task_.store(0, std::memory_order_relaxed);
  }
  wake_.notify_all();
  take_tasks(job);
  look_for([this] { return helpers_.load(std::memory_order_relaxed) == 0; });
  std::unique_lock lock(mutex_);
  // A thread that wakes from here on finds no job: `state` may be gone by then.
  job_ = Job{};
  idle_.wait(lock, [this] { return helpers_ == 0; });
}

void ThreadPool::work() {
  std::int64_t done = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stop_ || (job_id_ != done && job_.task != nullptr); });
    if (stop_) return;
    done = job_id_;
    const Job job = job_;
    ++helpers_;
    lock.unlock();
    take_tasks(job);
    lock.lock();
    if (--helpers_ == 0) idle_.notify_one();
    lock.unlock();
    look_for([&] { return job_id_.load(std::memory_order_relaxed) != done || stop_.load(); });
    lock.lock();
  }
}

}  // namespace vinfer
