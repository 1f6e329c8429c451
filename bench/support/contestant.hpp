#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace weir::bench {

/// What a slice's time is taken by.
enum class timed_by {
  wall,     ///< what a user waits; for work that waits, or that runs on several cores
  process,  ///< processor time, the kernel's and all threads' of the process: for work that never
            ///< waits, since others on the machine do not count
  thread,   ///< the same of the calling thread alone
};

double seconds_now(timed_by by) noexcept;

/// What is done before each slice, and not measured.
using preparation = std::function<void()>;

/// One way of doing a work.
struct contestant {
  std::string name;
  /// Does so many operations, and returns how many seconds they took.
  std::function<double(std::uint64_t operations)> seconds_for;
  /// Why it cannot be measured here; "" where it can.
  std::string absent = {};
  /// It knows itself how long to measure, whatever it is asked for.
  bool measures_itself = false;
};

/// Work done in this process: `work(operations)`.
template <class Work>
contestant in_process(std::string name, timed_by by, Work work, preparation before = {}) {
  return {.name = std::move(name),
          .seconds_for = [by, work = std::move(work),
                          before = std::move(before)](std::uint64_t operations) mutable {
            if (before) before();
            const double began = seconds_now(by);
            work(operations);
            return seconds_now(by) - began;
          }};
}

/// Work of one size: `conditions::operations` says how many operations it is.
template <class Work>
contestant of_one_size(std::string name, timed_by by, Work work) {
  return in_process(std::move(name), by,
                    [work = std::move(work)](std::uint64_t) mutable { work(); });
}

inline contestant absent(std::string name, std::string why) {
  return {.name = std::move(name), .seconds_for = {}, .absent = std::move(why)};
}

/// Work done in a process of its own, which lives as long as the contestant: for peers that have
/// one pool for the process, or threads that would disturb the others. `make` is called there.
contestant in_child(std::string name, timed_by by,
                    const std::function<std::function<void(std::uint64_t)>()>& make,
                    preparation before = {});

}  // namespace weir::bench
