#include "fork_guard.hpp"

#include <pthread.h>

#include <atomic>

namespace weir::detail {
namespace {

// The one global of the library: fork(2) itself is process-wide, and has no other place to tell us.
std::atomic<unsigned> generation = 0;

}  // namespace

unsigned fork_generation() noexcept {
  static const int registered =
      pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1, std::memory_order_relaxed); });
  static_cast<void>(registered);  // fails only without memory; then forks go unnoticed
  return generation.load(std::memory_order_relaxed);
}

}  // namespace weir::detail
