// Whether registering files and memory with io_uring pays: 4 KiB random reads of a file that is in
// the page cache, 32 to a system call, from one ring set up as weir's, on one core. Raw liburing,
// so that nothing but the registration differs.
//
//     bench_registration [file]      by default a temporary one of 256 MiB

#include <fcntl.h>
#include <liburing.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "support/pairs.hpp"

namespace {

constexpr unsigned batch = 32;
constexpr std::size_t block = 4096;
constexpr int rounds = 2'000;
constexpr std::size_t file_size = std::size_t{256} << 20;

[[noreturn]] void fail(const char* call, int error) {
  throw std::system_error(error, std::system_category(), call);
}

int checked(const char* call, int answer) {
  if (answer < 0) fail(call, answer == -1 ? errno : -answer);
  return answer;
}

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
  if (mapped == MAP_FAILED) fail("mmap", errno);
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
    if (cqe->res != static_cast<int>(block)) fail("read", cqe->res < 0 ? -cqe->res : EIO);
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

/// In the page cache, all of it.
int open_warm(const char* path) {
  const int fd = path != nullptr ? checked("open", ::open(path, O_RDONLY | O_CLOEXEC))
                                 : checked("open", ::open("/var/tmp", O_TMPFILE | O_RDWR, 0600));
  std::vector<std::byte> some(1 << 20);
  for (std::size_t at = 0; at < file_size; at += some.size()) {
    const auto offset = static_cast<off_t>(at);
    const ssize_t moved = path != nullptr ? ::pread(fd, some.data(), some.size(), offset)
                                          : ::pwrite(fd, some.data(), some.size(), offset);
    if (moved != static_cast<ssize_t>(some.size())) fail("a file of 256 MiB is needed", EINVAL);
  }
  // What is still to be written would be written meanwhile.
  checked("fsync", ::fsync(fd));
  return fd;
}

void stay_on_one_core() {
  cpu_set_t mine;
  CPU_ZERO(&mine);
  CPU_SET(static_cast<unsigned>(::sched_getcpu()), &mine);
  checked("sched_setaffinity", ::sched_setaffinity(0, sizeof mine, &mine));
}

void compare_all(reader& ring) {
  struct row {
    const char* title;
    registration ours;
    registration peer;
  };
  constexpr registration nothing{.files = false, .memory = false};
  constexpr registration files{.files = true, .memory = false};
  constexpr registration memory{.files = false, .memory = true};
  constexpr registration both{.files = true, .memory = true};
  constexpr std::array rows{
      row{"nothing / nothing (noise)", nothing, nothing},
      row{"files / nothing", files, nothing},
      row{"memory / nothing", memory, nothing},
      row{"files and memory / nothing", both, nothing},
      row{"files and memory / memory", both, memory},
      row{"files and memory / files and memory (noise)", both, both},
  };
  constexpr int pairs = 40;
  for (const row& each : rows) {
    const auto result =
        weir::bench::compare([&] { ring.read(each.ours); }, [&] { ring.read(each.peer); }, pairs);
    weir::bench::print(each.title, result, double{rounds} * batch);
  }
  const auto exchange = weir::bench::compare<weir::bench::thread_clock>(
      [&] { ring.exchange_file(); }, [&] { ring.exchange_file(); }, pairs);
  weir::bench::print("a file taken out and put in / the same (noise)", exchange, rounds);
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<const char*> given(arguments, arguments + count);
  stay_on_one_core();
  reader ring(open_warm(given.size() > 1 ? given[1] : nullptr));
  std::printf("%-58s %10s %10s %7s  %s\n", "registered", "ns", "peer ns", "ratio", "spread");
  compare_all(ring);
}
