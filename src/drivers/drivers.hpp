#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>

#include "drivers/worker_pool.hpp"
#include "weir/driver.hpp"

namespace weir::detail {

/// Why a driver could not be opened: the system call that was refused, and its errno.
struct refusal {
  const char* call;
  int error;
};

using opened_driver = std::expected<std::unique_ptr<driver>, refusal>;

/// Half of the largest completion queue of io_uring.
inline constexpr unsigned max_queue_depth = 16384;

/// `driver_options`, checked and with defaults filled in.
struct driver_limits {
  unsigned queue_depth;
  unsigned threads;
  unsigned sqpoll_idle_ms = 0;
  bool restricted = false;
};

/// One function for each driver; the table in drivers.cc has a row for each.
opened_driver open_uring(const driver_limits& limits);
opened_driver open_linux_aio(const driver_limits& limits);
opened_driver open_threads(const driver_limits& limits);
opened_driver open_sync(const driver_limits& limits);
/// The client of a daemon, by its name or the path of its socket.
opened_driver open_daemon(std::string name, const driver_limits& limits);

/// What an older kernel, or a stricter one, would refuse; so that tests can be such a kernel.
struct uring_restrictions {
  std::uint32_t refused_setup_flags = 0;  ///< IORING_SETUP_*: EINVAL
  std::uint64_t missing_opcodes = 0;      ///< bits by weir's `opcode`: not in the probe
  bool cancels_one_by_one = false;        ///< does not know how to cancel everything at once
};
opened_driver open_uring(const driver_limits& limits, const uring_restrictions& restrictions);

/// Wraps a driver that was opened with these limits in `lawful_faults` (<weir/faulty.hpp>). Their
/// seed is the environment variable WEIR_FAULT_SEED, a number or any other text, else 1.
result<std::unique_ptr<driver>> wrap_faulty(std::unique_ptr<driver> inner,
                                            const driver_limits& limits);

}  // namespace weir::detail
