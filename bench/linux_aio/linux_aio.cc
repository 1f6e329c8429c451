// What weir adds to Linux AIO: 4 KiB O_DIRECT reads by the linux_aio driver beside the same through
// libaio as one would write it by hand, in batches of as many as have finished. The file is on the
// disk of $TMPDIR, else /var/tmp.
//
//   bench_linux_aio [pairs]

#include <fcntl.h>
#include <libaio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "support/pairs.hpp"
#include "weir/buffer.hpp"
#include "weir/driver.hpp"
#include "weir/io_context.hpp"

namespace {

constexpr std::size_t block = 4096;
constexpr std::size_t blocks = 16'384;
constexpr std::size_t count = 16'000;  // reads in a slice

[[noreturn]] void fail(const char* what, int error) {
  throw std::system_error(error, std::system_category(), what);
}

/// Both contestants read the same places, into the same memory.
class plan {
 public:
  plan(int fd, std::size_t depth, weir::buffer& memory) : fd_(fd), depth_(depth), memory_(memory) {}

  int fd() const noexcept { return fd_; }
  std::size_t depth() const noexcept { return depth_; }
  std::byte* memory(std::size_t number) const noexcept { return memory_.data() + number * block; }
  std::uint64_t next() noexcept { return random_() % blocks * block; }

  static void check(long long answer) {
    if (answer != static_cast<long long>(block)) {
      fail("a read", answer < 0 ? static_cast<int>(-answer) : EIO);
    }
  }

 private:
  int fd_;
  std::size_t depth_;
  weir::buffer& memory_;
  std::minstd_rand random_;
};

class by_weir {
 public:
  explicit by_weir(const plan& what)
      : plan_(what),
        context_(weir::open_driver(
                     {.name = "linux_aio", .queue_depth = static_cast<unsigned>(what.depth())})
                     .value()) {
    for (std::size_t i = 0; i < plan_.depth(); ++i) reads_.emplace_back(*this, plan_.memory(i));
  }

  void operator()() {
    left_ = count;
    for (read& each : reads_) start(each);
    context_.run();
  }

 private:
  struct read : weir::operation {
    read(by_weir& owner, std::byte* into)
        : operation({.op = weir::opcode::read,
                     .hints = weir::hint::direct,
                     .fd = owner.plan_.fd(),
                     .address = into,
                     .length = block},
                    &completed),
          self(owner) {}
    static void completed(weir::operation& op) noexcept {
      plan::check(op.answer());
      auto& done = static_cast<read&>(op);
      done.self.start(done);
    }
    by_weir& self;
  };

  void start(read& op) {
    if (left_ == 0) return;
    --left_;
    op.args.offset = plan_.next();
    context_.start(op);
  }

  plan plan_;
  weir::io_context context_;
  std::deque<read> reads_;
  std::size_t left_ = 0;
};

class by_libaio {
 public:
  explicit by_libaio(const plan& what) : plan_(what), blocks_(what.depth()), events_(what.depth()) {
    const int error = ::io_setup(static_cast<int>(what.depth()), &context_);
    if (error < 0) fail("io_setup", -error);
  }
  by_libaio(const by_libaio&) = delete;
  by_libaio& operator=(const by_libaio&) = delete;
  ~by_libaio() { ::io_destroy(context_); }

  void operator()() {
    left_ = count;
    for (std::size_t i = 0; i < blocks_.size(); ++i) prepare(blocks_[i], plan_.memory(i));
    std::size_t outstanding = submit();
    while (outstanding > 0) {
      outstanding -= collect();
      outstanding += submit();
    }
  }

 private:
  void prepare(iocb& to, void* memory) {
    if (left_ == 0) return;
    --left_;
    ::io_prep_pread(&to, plan_.fd(), memory, block, static_cast<long long>(plan_.next()));
    batch_.push_back(&to);
  }

  std::size_t submit() {
    for (std::size_t taken = 0; taken < batch_.size();) {
      const int answer =
          ::io_submit(context_, static_cast<long>(batch_.size() - taken), &batch_[taken]);
      if (answer < 0) fail("io_submit", -answer);
      taken += static_cast<std::size_t>(answer);
    }
    const std::size_t submitted = batch_.size();
    batch_.clear();
    return submitted;
  }

  std::size_t collect() {
    const int found =
        ::io_getevents(context_, 1, static_cast<long>(events_.size()), events_.data(), nullptr);
    if (found < 0) fail("io_getevents", -found);
    for (int i = 0; i < found; ++i) {
      const io_event& event = events_[static_cast<std::size_t>(i)];
      plan::check(static_cast<long>(event.res));
      prepare(*event.obj, event.obj->u.c.buf);
    }
    return static_cast<std::size_t>(found);
  }

  plan plan_;
  io_context_t context_ = nullptr;
  std::vector<iocb> blocks_;
  std::vector<iocb*> batch_;
  std::vector<io_event> events_;
  std::size_t left_ = 0;
};

/// Without a name, and written: reads of holes would not reach the disk.
int make_file() {
  const char* base = std::getenv("TMPDIR");
  std::string path = std::string(base != nullptr ? base : "/var/tmp") + "/weir-bench-XXXXXX";
  const int buffered = ::mkostemp(path.data(), O_CLOEXEC);
  if (buffered < 0) fail("mkostemp", errno);
  const int direct = ::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  ::unlink(path.c_str());
  if (direct < 0) fail("O_DIRECT", errno);
  const std::vector<char> chunk(1 << 20, 'w');
  for (std::size_t at = 0; at < blocks * block; at += chunk.size()) {
    if (::write(buffered, chunk.data(), chunk.size()) < 0) fail("write", errno);
  }
  if (::fsync(buffered) < 0) fail("fsync", errno);
  ::close(buffered);
  return direct;
}

}  // namespace

int main(int arguments, char** argument) {
  using weir::bench::compare;
  using weir::bench::print;
  using weir::bench::process_clock;
  const int pairs = arguments > 1 ? std::max(1, std::atoi(argument[1])) : 15;
  const int fd = make_file();
  weir::bench::print_heading();
  for (const std::size_t depth : {1U, 32U, 128U}) {
    weir::buffer memory(depth * block);
    const plan what(fd, depth, memory);
    by_weir ours(what);
    by_libaio raw(what);
    by_libaio raw_again(what);
    print("O_DIRECT, " + std::to_string(depth) + " outstanding: weir / libaio",
          compare(ours, raw, pairs), count);
    print("  in processor time", compare<process_clock>(ours, raw, pairs), count);
    print("  libaio / libaio", compare(raw_again, raw, pairs), count);
    print("  in processor time", compare<process_clock>(raw_again, raw, pairs), count);
  }
  ::close(fd);
  return 0;
}
