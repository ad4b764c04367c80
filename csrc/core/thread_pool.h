#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/parallel.h"

namespace vinfer {

// Threads that sleep until there is work, but for the first moments after they had some. One call
// at a time has their help: a call that finds them busy runs all of its tasks itself, so that
// callers on many threads never add up to more running threads than callers plus the size of the
// pool.
class ThreadPool final : public Parallel {
 public:
  // `num_threads` counts the caller's, so one starts no thread. Fewer may start where the system
  // refuses more.
  explicit ThreadPool(std::int64_t num_threads);
  ~ThreadPool() override;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::int64_t num_threads() const override;
  void run(std::int64_t num_tasks, Task task, const void* state) override;

 private:
  struct Job {
    Task task = nullptr;
    const void* state = nullptr;
    std::int64_t num_tasks = 0;
  };

  void work(std::atomic<int>& core);
  // Linux often wakes a thread on the core of the one that woke it, where it waits for that one's
  // work to end. A thread that was there last is told to run on another one.
  void leave_core_to_caller();
  void take_tasks(const Job& job);

  std::mutex busy_;  // held by the call that has the threads' help
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  Job job_;  // guarded by mutex_
  // Written under mutex_; a thread that looks before it sleeps reads them without.
  std::atomic<std::int64_t> job_id_{0};
  std::atomic<std::int64_t> helpers_{0};  // threads inside the job
  std::atomic<bool> stop_{false};
  std::atomic<std::int64_t> next_task_{0};
  std::unique_ptr<std::atomic<int>[]> cores_;  // where each thread was last
  std::vector<std::thread> threads_;
};

}  // namespace vinfer
