#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include "campaign/account.hpp"
#include "campaign/fault.hpp"
#include "weir/weir.hpp"

namespace weir::campaign {

/// Thrown where this machine, kernel or user cannot have the fault: the row says SKIPPED, and why.
class unavailable : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The same for a system call that a fault needs, and its errno.
[[noreturn]] void not_available(std::string_view call);

/// "ENOSPC"
std::string_view name_of_error(int error);

/// Which try it is.
struct trial_options {
  const fault* what;
  std::string_view driver;
  unsigned number;        ///< faults vary themselves by it
  std::uint64_t seed;     ///< of the workload
  bool in_full;           ///< the long form
  std::string directory;  ///< empty, and removed by who watches
};

/// One try of one fault on one driver: what was asked for, and where to say what came of it.
class trial {
 public:
  trial(const trial_options& which, account& tells) noexcept : which_(which), account_(tells) {}

  std::string_view driver() const noexcept { return which_.driver; }
  unsigned number() const noexcept { return which_.number; }
  std::uint64_t seed() const noexcept { return which_.seed; }
  const std::string& directory() const noexcept { return which_.directory; }
  /// So many operations are enough, in this form of the campaign.
  std::size_t operations(std::size_t in_short) const noexcept {
    return which_.in_full ? 8 * in_short : in_short;
  }

  /// A context on the try's driver; `unavailable` where this machine has no such driver.
  std::unique_ptr<io_context> open_context(const driver_options& options = {.queue_depth = 32});

  // What operations do.
  void operation_started() noexcept { account_.started.fetch_add(1); }
  void operation_completed() noexcept { account_.completed.fetch_add(1); }
  void operation_completed_twice() noexcept { account_.completed_twice.fetch_add(1); }
  void operation_failed(opcode op, int error) noexcept;
  void data_missing(std::string_view what) noexcept;

  /// From now on until `fault_lifted`, the fault's errors are answers like others.
  void fault_begins() noexcept { lasts_ = true; }
  void fault_lifted() noexcept { lasts_ = false; }

  /// Something that must not be.
  void odd(std::string_view what) noexcept;
  void expect(bool holds, std::string_view what) noexcept {
    if (!holds) odd(what);
  }
  /// A fault that nothing feels proves nothing.
  void expect_felt(int error) noexcept;
  /// Opening a driver may fail only with one of the fault's errors.
  void expect_opened_or_refused(const result<std::unique_ptr<weir::driver>>& opened) noexcept;
  /// Of a process that the try has started.
  void crashed(std::string_view what) noexcept;
  void leaked(std::uint64_t count, std::string_view what) noexcept;

 private:
  bool is_expected(int error) const noexcept;
  void count_refusal(int error) noexcept;

  const trial_options& which_;
  account& account_;
  bool lasts_ = false;
};

/// An operation that a try counts, in storage that outlives the context: a second completion would
/// be seen.
class tracked : public operation {
 public:
  explicit tracked(trial& counts, std::function<void(tracked&)> and_then = {})
      : operation(request{}, &complete), trial_(&counts), then_(std::move(and_then)) {}

  void start(io_context& context, const request& what);
  bool is_pending() const noexcept { return pending_; }

 private:
  static void complete(operation& op) noexcept;

  trial* trial_;
  std::function<void(tracked&)> then_;
  bool pending_ = false;
};

}  // namespace weir::campaign
