#include <liburing.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "peers/peers.hpp"

namespace weir::bench {
namespace {

/// Marks the completion of a write whose fdatasync follows: the operation is not over.
constexpr std::uint64_t more_follows = std::uint64_t{1} << 32;

class ring {
 public:
  ring(tuning how, const workload& work);
  ring(const ring&) = delete;
  ring& operator=(const ring&) = delete;
  ~ring() { io_uring_queue_exit(&ring_); }

  void operator()(std::uint64_t operations);

 private:
  void set_up();
  void register_all();
  void start(unsigned slot);
  void start_sync(unsigned slot, unsigned file);
  unsigned reap();

  workload work_;
  bool tuned_;
  bool by_workers_;
  places places_;
  blocks memory_;
  io_uring ring_{};
  free_slots free_;
};

ring::ring(tuning how, const workload& work)
    : work_(work),
      tuned_(how == tuning::tuned),
      by_workers_(how == tuning::by_workers),
      places_(work),
      memory_(work),
      free_(work.depth) {
  set_up();
  if (tuned_) register_all();
}

void ring::set_up() {
  io_uring_params params{};
  if (tuned_) {
    params.flags =
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  }
  const unsigned each = work_.kind == work_kind::durable ? 2 : 1;
  checked("io_uring_queue_init_params",
          io_uring_queue_init_params(work_.depth * each, &ring_, &params));
}

void ring::register_all() {
  const iovec whole{.iov_base = memory_[0], .iov_len = memory_.size()};
  checked("io_uring_register_buffers", io_uring_register_buffers(&ring_, &whole, 1));
  checked("io_uring_register_files",
          io_uring_register_files(&ring_, work_.files.data(),
                                  static_cast<unsigned>(work_.files.size())));
}

void ring::start(unsigned slot) {
  const place where = places_.next();
  const auto length = static_cast<unsigned>(work_.block);
  const int fd = tuned_ ? static_cast<int>(where.file) : work_.files[where.file];
  io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
  if (!where.write) {
    if (tuned_) {
      io_uring_prep_read_fixed(sqe, fd, memory_[slot], length, where.offset, 0);
    } else {
      io_uring_prep_read(sqe, fd, memory_[slot], length, where.offset);
    }
  } else if (tuned_) {
    io_uring_prep_write_fixed(sqe, fd, memory_[slot], length, where.offset, 0);
  } else {
    io_uring_prep_write(sqe, fd, memory_[slot], length, where.offset);
  }
  if (tuned_) sqe->flags |= IOSQE_FIXED_FILE;
  if (by_workers_) sqe->flags |= IOSQE_ASYNC;
  sqe->user_data = slot;
  if (work_.kind != work_kind::durable) return;
  sqe->flags |= IOSQE_IO_LINK;
  sqe->user_data |= more_follows;
  start_sync(slot, where.file);
}

void ring::start_sync(unsigned slot, unsigned file) {
  io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
  io_uring_prep_fsync(sqe, tuned_ ? static_cast<int>(file) : work_.files[file],
                      IORING_FSYNC_DATASYNC);
  if (tuned_) sqe->flags |= IOSQE_FIXED_FILE;
  sqe->user_data = slot;
}

/// Returns how many operations are over.
unsigned ring::reap() {
  unsigned head = 0;
  unsigned taken = 0;
  unsigned over = 0;
  io_uring_cqe* cqe = nullptr;
  const bool syncs = work_.kind == work_kind::durable;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    ++taken;
    const bool is_sync = syncs && (cqe->user_data & more_follows) == 0;
    expect_whole("io_uring", cqe->res, is_sync ? 0 : work_.block);
    if ((cqe->user_data & more_follows) != 0) continue;
    free_.give_back(static_cast<unsigned>(cqe->user_data));
    ++over;
  }
  io_uring_cq_advance(&ring_, taken);
  return over;
}

void ring::operator()(std::uint64_t operations) {
  std::uint64_t to_start = operations;
  for (std::uint64_t over = 0; over < operations; over += reap()) {
    for (; to_start > 0 && !free_.empty(); --to_start) start(free_.take());
    checked("io_uring_submit_and_wait", io_uring_submit_and_wait(&ring_, 1));
  }
}

}  // namespace

namespace {

std::string name_of(tuning how) {
  switch (how) {
    case tuning::tuned:
      return "tuned ring";
    case tuning::by_workers:
      return "ring with workers";
    case tuning::plain:
      break;
  }
  return "plain ring";
}

}  // namespace

contestant raw_ring(tuning how, const workload& work, timed_by by, preparation before) {
  auto made = std::make_shared<ring>(how, work);
  return in_process(
      name_of(how), by, [made](std::uint64_t operations) { (*made)(operations); },
      std::move(before));
}

}  // namespace weir::bench
