#include <aio.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "peers/peers.hpp"

namespace weir::bench {
namespace {

class posix_context {
 public:
  explicit posix_context(const workload& work)
      : work_(work), places_(work), memory_(work), all_(work.depth), in_flight_(work.depth) {}

  void operator()(std::uint64_t operations);

 private:
  void start(std::size_t slot);
  std::uint64_t reap();

  workload work_;
  places places_;
  blocks memory_;
  std::vector<aiocb> all_;
  std::vector<const aiocb*> in_flight_;  // null where there is none: what aio_suspend(3) takes
};

void posix_context::start(std::size_t slot) {
  const place where = places_.next();
  aiocb& one = all_[slot];
  one = {};
  one.aio_fildes = work_.files[where.file];
  one.aio_buf = memory_[slot];
  one.aio_nbytes = work_.block;
  one.aio_offset = static_cast<off_t>(where.offset);
  one.aio_sigevent.sigev_notify = SIGEV_NONE;
  checked(where.write ? "aio_write" : "aio_read",
          where.write ? ::aio_write(&one) : ::aio_read(&one));
  in_flight_[slot] = &one;
}

/// Waits for one at least, and takes all that are over.
std::uint64_t posix_context::reap() {
  while (::aio_suspend(in_flight_.data(), static_cast<int>(in_flight_.size()), nullptr) != 0) {
    if (errno != EINTR) fail("aio_suspend");
  }
  std::uint64_t over = 0;
  for (std::size_t slot = 0; slot < all_.size(); ++slot) {
    if (in_flight_[slot] == nullptr) continue;
    const int error = ::aio_error(&all_[slot]);
    if (error == EINPROGRESS) continue;
    if (error != 0) fail("POSIX AIO", error);
    expect_whole("POSIX AIO", ::aio_return(&all_[slot]), work_.block);
    in_flight_[slot] = nullptr;
    ++over;
  }
  return over;
}

void posix_context::operator()(std::uint64_t operations) {
  std::uint64_t to_start = operations;
  for (std::uint64_t over = 0; over < operations; over += reap()) {
    for (std::size_t slot = 0; slot < all_.size() && to_start > 0; ++slot) {
      if (in_flight_[slot] != nullptr) continue;
      start(slot);
      --to_start;
    }
  }
}

}  // namespace

contestant posix_aio(const workload& work, timed_by by, preparation before) {
  auto made = std::make_shared<posix_context>(work);
  return in_process(
      "POSIX AIO", by, [made](std::uint64_t operations) { (*made)(operations); },
      std::move(before));
}

}  // namespace weir::bench
