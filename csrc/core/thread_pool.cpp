#include "core/thread_pool.h"

#ifdef __linux__
#include <pthread.h>
#include <sched.h>
#endif

#include <chrono>
#include <system_error>

namespace vinfer {
namespace {

// A thread that sleeps takes tens of microseconds to come back. So whoever waits looks first for a
// while, as long as a wake-up costs.
constexpr std::chrono::microseconds kLookBeforeSleep{50};

template <typename Condition>
void look_for(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + kLookBeforeSleep;
  while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
}

// The core that the calling thread is on, or -1.
int current_core() {
#ifdef __linux__
  return sched_getcpu();
#else
  return -1;
#endif
}

}  // namespace

ThreadPool::ThreadPool(std::int64_t num_threads)
    : cores_(num_threads > 1 ? new std::atomic<int>[num_threads - 1] : nullptr) {
  try {
    for (std::int64_t i = 0; i + 1 < num_threads; ++i) {
      cores_[i] = -1;
      threads_.emplace_back([this, i] { work(cores_[i]); });
    }
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

void ThreadPool::leave_core_to_caller() {
#ifdef __linux__
  const int mine = current_core();
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    if (mine < 0 || cores_[i].load(std::memory_order_relaxed) != mine) continue;
    cpu_set_t others;
    if (sched_getaffinity(0, sizeof(others), &others) != 0) return;
    CPU_CLR(static_cast<std::size_t>(mine), &others);
    if (CPU_COUNT(&others) == 0) return;
    pthread_setaffinity_np(threads_[i].native_handle(), sizeof(others), &others);
  }
#endif
}

void ThreadPool::run(std::int64_t num_tasks, Task task, const void* state) {
  const std::unique_lock busy(busy_, std::try_to_lock);
  if (!busy.owns_lock() || threads_.empty() || num_tasks <= 1) {
    for (std::int64_t i = 0; i < num_tasks; ++i) task(state, i);
    return;
  }
  const Job job{task, state, num_tasks};
  leave_core_to_caller();
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

void ThreadPool::work(std::atomic<int>& core) {
  std::int64_t done = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] {
      core.store(current_core(), std::memory_order_relaxed);
      return stop_ || (job_id_ != done && job_.task != nullptr);
    });
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
