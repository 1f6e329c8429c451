// Whether registering files and memory with io_uring pays: 4 KiB random reads of a file that is in
// the page cache, 32 to a system call, from one ring set up as weir's, on one core. Raw liburing,
// so that nothing but the registration differs.

#include <fcntl.h>
#include <liburing.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "support/fail.hpp"
#include "support/machine.hpp"
#include "support/program.hpp"
#include "support/scratch_file.hpp"

namespace {

using namespace weir::bench;

constexpr unsigned batch = 32;
constexpr std::size_t block = 4096;
constexpr int rounds = 2'000;
constexpr std::size_t file_size = std::size_t{256} << 20;

/// What is registered: none, either, or both.
struct registration {
  bool files;
  bool memory;
};

/// A ring with everything registered; each slice of work uses what it is told to.
class reader {
 public:
  explicit reader(int fd);
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;
  ~reader() {
    io_uring_queue_exit(&ring_);
    ::munmap(memory_, batch * block);
  }

  /// `rounds` system calls of `batch` reads.
  void read(registration with);
  /// What a file costs that is registered when it is opened, and taken out when it is closed.
  void exchange_file();

 private:
  void prepare(unsigned slot, registration with);
  void reap();

  int fd_;
  io_uring ring_{};
  std::byte* memory_ = nullptr;
  std::mt19937_64 random_;
};

reader::reader(int fd) : fd_(fd) {
  io_uring_params params{};
  params.flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  checked("io_uring_queue_init_params", io_uring_queue_init_params(batch, &ring_, &params));
  void* const mapped = ::mmap(nullptr, batch * block, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (mapped == MAP_FAILED) fail("mmap");
  memory_ = static_cast<std::byte*>(mapped);
  const iovec whole{.iov_base = memory_, .iov_len = batch * block};
  checked("io_uring_register_buffers", io_uring_register_buffers(&ring_, &whole, 1));
  checked("io_uring_register_files", io_uring_register_files(&ring_, &fd_, 1));
}

void reader::prepare(unsigned slot, registration with) {
  io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
  std::byte* const into = memory_ + slot * block;
  const std::uint64_t offset = random_() % (file_size / block) * block;
  const int file = with.files ? 0 : fd_;
  if (with.memory) {
    io_uring_prep_read_fixed(sqe, file, into, block, offset, 0);
  } else {
    io_uring_prep_read(sqe, file, into, block, offset);
  }
  if (with.files) sqe->flags |= IOSQE_FIXED_FILE;
}

void reader::reap() {
  unsigned head = 0;
  unsigned taken = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    expect_whole("read", cqe->res, block);
    ++taken;
  }
  io_uring_cq_advance(&ring_, taken);
  if (taken != batch) fail("io_uring_enter completed a part", EIO);
}

void reader::read(registration with) {
  for (int round = 0; round < rounds; ++round) {
    for (unsigned slot = 0; slot < batch; ++slot) prepare(slot, with);
    checked("io_uring_submit_and_wait", io_uring_submit_and_wait(&ring_, batch));
    reap();
  }
}

void reader::exchange_file() {
  int none = -1;
  for (int round = 0; round < rounds; ++round) {
    checked("io_uring_register_files_update", io_uring_register_files_update(&ring_, 0, &none, 1));
    checked("io_uring_register_files_update", io_uring_register_files_update(&ring_, 0, &fd_, 1));
  }
}

void compare_all(program& run, reader& ring) {
  struct row {
    const char* our_name;
    registration ours;
    const char* peer_name;
    registration peer;
  };
  constexpr registration nothing{.files = false, .memory = false};
  constexpr registration files{.files = true, .memory = false};
  constexpr registration memory{.files = false, .memory = true};
  constexpr registration both{.files = true, .memory = true};
  constexpr std::array rows{
      row{"nothing: noise", nothing, "nothing", nothing},
      row{"files", files, "nothing", nothing},
      row{"memory", memory, "nothing", nothing},
      row{"files and memory", both, "nothing", nothing},
      row{"files and memory", both, "memory", memory},
      row{"files and memory: noise", both, "files and memory", both},
  };
  const auto reads = [&](const char* name, registration with) {
    return of_one_size(name, timed_by::wall, [&ring, with] { ring.read(with); });
  };
  for (const row& each : rows) {
    run.compare({.regime = "4 KiB warm reads, 32 to a call, by what is registered",
                 .operations = rounds * batch,
                 .pairs = 40},
                reads(each.our_name, each.ours), reads(each.peer_name, each.peer));
  }
  const contestant exchange = of_one_size("a file taken out and put in", timed_by::thread,
                                          [&ring] { ring.exchange_file(); });
  run.compare({.regime = "the table of files, processor time", .operations = rounds}, exchange,
              exchange);
}

int body(int argc, char** argv) {
  program run(argc, argv, "registration",
              "Does it pay to register files and memory with io_uring?");
  stay_on_one_core();
  const scratch_file file(file_size);
  reader ring(file.buffered());
  compare_all(run, ring);
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
