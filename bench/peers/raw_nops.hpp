#pragma once

#include <liburing.h>

#include <cstdint>

#include "support/fail.hpp"

namespace weir::bench {

/// IORING_OP_NOP by hand, so many to a system call, on a ring that is set up as weir's.
class nop_ring {
 public:
  explicit nop_ring(unsigned depth) {
    io_uring_params params{};
    params.flags =
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    checked("io_uring_queue_init_params", io_uring_queue_init_params(depth, &ring_, &params));
  }
  nop_ring(const nop_ring&) = delete;
  nop_ring& operator=(const nop_ring&) = delete;
  ~nop_ring() { io_uring_queue_exit(&ring_); }

  /// `batch` is at most the ring's depth.
  void run(std::uint64_t operations, unsigned batch) {
    for (std::uint64_t left = operations; left > 0;) {
      const unsigned now = left < batch ? static_cast<unsigned>(left) : batch;
      for (unsigned i = 0; i < now; ++i) io_uring_prep_nop(io_uring_get_sqe(&ring_));
      checked("io_uring_submit_and_wait", io_uring_submit_and_wait(&ring_, now));
      reap();
      left -= now;
    }
  }

 private:
  void reap() {
    unsigned head = 0;
    unsigned taken = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      expect_whole("IORING_OP_NOP", cqe->res, 0);
      ++taken;
    }
    io_uring_cq_advance(&ring_, taken);
  }

  io_uring ring_{};
};

}  // namespace weir::bench
