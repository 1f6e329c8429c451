#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include "transfer/limits.hpp"
#include "weir/transfer.hpp"

namespace weir::detail {

/// How far a transfer has come, and how far it is to go. What every kind of transfer keeps.
class transfer_account {
 public:
  transfer_account(std::uint64_t length, const transfer_options& options) noexcept
      : limits_(options),
        progress_(options.progress),
        left_(length),
        explicit_(length != to_the_end) {
    piece_ = std::clamp(options.piece, least_piece, static_cast<std::size_t>(transfer_max));
  }

  const transfer_limits& limits() const noexcept { return limits_; }
  const transfer_outcome& outcome() const noexcept { return outcome_; }
  bool failed() const noexcept { return static_cast<bool>(outcome_.error); }

  /// How many bytes are to come, at most; whether it is known that there are so many.
  std::uint64_t left() const noexcept { return left_; }
  bool is_explicit() const noexcept { return explicit_; }
  /// What is to be moved next in one go, at most.
  std::size_t next() const noexcept {
    return static_cast<std::size_t>(std::min<std::uint64_t>(left_, piece_));
  }

  /// The first failure counts. Always false: nothing more is to be done.
  bool fail(std::error_code why) noexcept {
    if (!outcome_.error) outcome_.error = why;
    return false;
  }
  /// Between two pieces: false where time is up, or somebody wants it to stop.
  bool may_go_on() noexcept {
    const std::error_code why = limits_.passed();
    return why ? fail(why) : !failed();
  }

  /// `count` bytes more of the file. Throws what the progress callback throws.
  void moved(std::uint64_t count, transfer_route by) {
    if (count == 0) return;
    outcome_.transferred += count;
    outcome_.routes.add(by);
    if (explicit_) left_ -= count;
    if (progress_) progress_(outcome_.transferred);
  }
  /// What another transfer did, which has told of its progress itself.
  void add(const transfer_outcome& part) noexcept {
    outcome_.transferred += part.transferred;
    outcome_.routes.add(part.routes);
    if (part.error) fail(part.error);
  }
  void framed(std::uint64_t count) noexcept { outcome_.framing += count; }

  /// There is no more: that is the end, or too early.
  void ended() noexcept {
    if (explicit_ && left_ != 0) fail(make_error_code(errc::short_read));
    left_ = 0;
  }

 private:
  static constexpr std::size_t least_piece = 4096;

  transfer_limits limits_;
  const std::function<void(std::uint64_t)>& progress_;
  transfer_outcome outcome_;
  std::uint64_t left_;
  std::size_t piece_;
  bool explicit_;
};

}  // namespace weir::detail
