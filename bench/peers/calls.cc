#include <sys/uio.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "peers/peers.hpp"

namespace weir::bench {
namespace {

class caller {
 public:
  caller(call which, const workload& work, unsigned seed = 0)
      : which_(which), work_(work), places_(work, seed), memory_(work) {}

  void operator()(std::uint64_t operations) {
    for (std::uint64_t i = 0; i < operations; ++i) {
      carry_out(places_.next(), memory_[slot_]);
      slot_ = slot_ + 1 == work_.depth ? 0 : slot_ + 1;
    }
  }

 private:
  ssize_t transfer(int fd, place where, std::byte* memory) const noexcept {
    const auto offset = static_cast<off_t>(where.offset);
    if (where.write) return ::pwrite(fd, memory, work_.block, offset);
    if (which_ == call::pread) return ::pread(fd, memory, work_.block, offset);
    const iovec one{.iov_base = memory, .iov_len = work_.block};
    return ::preadv2(fd, &one, 1, offset, RWF_NOWAIT);
  }

  void carry_out(place where, std::byte* memory) const {
    const int fd = work_.files[where.file];
    const ssize_t moved = transfer(fd, where, memory);
    if (moved < 0) fail(where.write ? "pwrite" : "pread");
    expect_whole("a call", moved, work_.block);
    if (work_.kind == work_kind::durable) checked("fdatasync", ::fdatasync(fd));
  }

  call which_;
  workload work_;
  places places_;
  blocks memory_;
  unsigned slot_ = 0;
};

/// Each of the threads goes its own way: its own part of the operations, places and memory.
class callers {
 public:
  explicit callers(const workload& work) {
    workload alone = work;
    alone.depth = 1;
    for (unsigned i = 0; i < work.depth; ++i) {
      all_.push_back(std::make_unique<caller>(call::pread, alone, i));
    }
  }

  void operator()(std::uint64_t operations) {
    std::vector<std::jthread> threads;
    std::uint64_t left = operations;
    for (std::size_t i = 0; i < all_.size(); ++i) {
      const std::uint64_t share = left / (all_.size() - i);
      left -= share;
      threads.emplace_back([each = all_[i].get(), share] { (*each)(share); });
    }
  }

 private:
  std::vector<std::unique_ptr<caller>> all_;
};

}  // namespace

contestant calls(call which, const workload& work, timed_by by, preparation before) {
  auto made = std::make_shared<caller>(which, work);
  const std::string reads = which == call::pread ? "pread" : "preadv2(RWF_NOWAIT)";
  return in_process((work.kind == work_kind::read ? reads : "calls") + " in a loop", by,
                    [made](std::uint64_t operations) { (*made)(operations); }, std::move(before));
}

contestant threads(const workload& work, timed_by by, preparation before) {
  auto made = std::make_shared<callers>(work);
  return in_process(
      work.depth == 1 ? "a thread with a loop of calls"
                      : std::to_string(work.depth) + " threads, each a loop of calls",
      by, [made](std::uint64_t operations) { (*made)(operations); }, std::move(before));
}

}  // namespace weir::bench
