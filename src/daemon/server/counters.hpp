#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

#include "daemon/protocol.hpp"

namespace weir::detail::daemon {

/// How long requests took, from when they were heard to when their end was told. A bucket for each
/// power of two of nanoseconds.
class latency_counts {
 public:
  static constexpr std::size_t bucket_count = 40;  // the last: from 9 minutes on

  void add(std::uint64_t nanoseconds) noexcept {
    const auto bits = static_cast<std::size_t>(std::bit_width(nanoseconds));
    ++buckets_[bits < bucket_count ? bits : bucket_count - 1];
    sum_ += nanoseconds;
  }
  /// Of those that took less than 2^`which` nanoseconds, and not less than half of that.
  std::uint64_t bucket(std::size_t which) const noexcept { return buckets_[which]; }
  std::uint64_t sum_ns() const noexcept { return sum_; }

 private:
  std::array<std::uint64_t, bucket_count> buckets_{};
  std::uint64_t sum_ = 0;
};

/// What became of the requests of one kind.
struct request_counts {
  std::uint64_t completed = 0;
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t bytes = 0;
  latency_counts latency;
};

/// What a daemon has counted since it began.
struct server_counts {
  // By message::read to message::sync, less one.
  std::array<request_counts, 9> requests;
  std::uint64_t malformed = 0;
  std::uint64_t refused = 0;  ///< for want of room or of permission
  std::uint64_t accepted_clients = 0;
  std::uint64_t rejected_clients = 0;

  request_counts& of(message kind) noexcept { return requests[static_cast<std::size_t>(kind) - 1]; }
};

struct server_state;

/// All of it, and a row for each client, as Prometheus reads it: text exposition format 0.0.4.
std::string metrics_text(const server_state& server);

}  // namespace weir::detail::daemon
