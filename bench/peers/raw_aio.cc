#include "peers/peers.hpp"

#if WEIR_BENCH_LIBAIO

#include <libaio.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace weir::bench {
namespace {

class aio_context {
 public:
  explicit aio_context(const workload& work);
  aio_context(const aio_context&) = delete;
  aio_context& operator=(const aio_context&) = delete;
  ~aio_context() { ::io_destroy(context_); }

  void operator()(std::uint64_t operations);

 private:
  void prepare(iocb& block);
  void submit();
  std::size_t reap();

  workload work_;
  places places_;
  blocks memory_;
  io_context_t context_ = nullptr;
  std::vector<iocb> all_;
  free_slots free_;
  std::vector<iocb*> staged_;
  std::vector<io_event> events_;
};

aio_context::aio_context(const workload& work)
    : work_(work),
      places_(work),
      memory_(work),
      all_(work.depth),
      free_(work.depth),
      events_(work.depth) {
  checked("io_setup", ::io_setup(static_cast<int>(work.depth), &context_));
}

void aio_context::prepare(iocb& block) {
  const place where = places_.next();
  const int fd = work_.files[where.file];
  std::byte* const memory = memory_[static_cast<std::size_t>(&block - all_.data())];
  if (where.write) {
    ::io_prep_pwrite(&block, fd, memory, work_.block, static_cast<long long>(where.offset));
  } else {
    ::io_prep_pread(&block, fd, memory, work_.block, static_cast<long long>(where.offset));
  }
}

void aio_context::submit() {
  for (std::size_t taken = 0; taken < staged_.size();) {
    taken += static_cast<std::size_t>(checked(
        "io_submit",
        ::io_submit(context_, static_cast<long>(staged_.size() - taken), staged_.data() + taken)));
  }
  staged_.clear();
}

std::size_t aio_context::reap() {
  const int count =
      checked("io_getevents",
              ::io_getevents(context_, 1, static_cast<long>(work_.depth), events_.data(), nullptr));
  for (int i = 0; i < count; ++i) {
    const io_event& each = events_[static_cast<std::size_t>(i)];
    expect_whole("libaio", static_cast<long>(each.res), work_.block);
    free_.give_back(static_cast<unsigned>(each.obj - all_.data()));
  }
  return static_cast<std::size_t>(count);
}

void aio_context::operator()(std::uint64_t operations) {
  std::uint64_t to_start = operations;
  for (std::uint64_t over = 0; over < operations; over += reap()) {
    for (; to_start > 0 && !free_.empty(); --to_start) {
      iocb& one = all_[free_.take()];
      prepare(one);
      staged_.push_back(&one);
    }
    submit();
  }
}

}  // namespace

contestant raw_aio(const workload& work, timed_by by, preparation before) {
  if (work.kind == work_kind::durable) {
    return absent("libaio", "it cannot make one operation follow another.");
  }
  auto made = std::make_shared<aio_context>(work);
  return in_process(
      "libaio", by, [made](std::uint64_t operations) { (*made)(operations); }, std::move(before));
}

}  // namespace weir::bench

#else

namespace weir::bench {

contestant raw_aio(const workload&, timed_by, preparation) {
  return absent("libaio", "libaio-dev was not there when this was built.");
}

}  // namespace weir::bench

#endif
