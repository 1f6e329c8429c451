#include "peers/peers.hpp"

#if WEIR_BENCH_LIBUV

#include <uv.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace weir::bench {
namespace {

class uv_reader {
 public:
  explicit uv_reader(const workload& work);
  uv_reader(const uv_reader&) = delete;
  uv_reader& operator=(const uv_reader&) = delete;
  ~uv_reader() { ::uv_loop_close(&loop_); }

  void operator()(std::uint64_t operations);

 private:
  struct slot {
    uv_fs_t request;
    uv_reader* owner;
    uv_buf_t memory;
  };

  void start(slot& one);
  static void done(uv_fs_t* request);

  workload work_;
  places places_;
  blocks memory_;
  uv_loop_t loop_{};
  std::vector<slot> slots_;
  std::uint64_t to_start_ = 0;
};

uv_reader::uv_reader(const workload& work)
    : work_(work), places_(work), memory_(work), slots_(work.depth) {
  checked("uv_loop_init", ::uv_loop_init(&loop_));
  for (unsigned i = 0; i < work.depth; ++i) {
    slots_[i].owner = this;
    slots_[i].request.data = &slots_[i];
    slots_[i].memory =
        ::uv_buf_init(reinterpret_cast<char*>(memory_[i]), static_cast<unsigned>(work.block));
  }
}

void uv_reader::start(slot& one) {
  --to_start_;
  const place where = places_.next();
  const auto begin = where.write ? &::uv_fs_write : &::uv_fs_read;
  checked("uv_fs", begin(&loop_, &one.request, work_.files[where.file], &one.memory, 1,
                         static_cast<std::int64_t>(where.offset), &uv_reader::done));
}

void uv_reader::done(uv_fs_t* request) {
  slot& one = *static_cast<slot*>(request->data);
  expect_whole("libuv", request->result, one.owner->work_.block);
  ::uv_fs_req_cleanup(request);
  if (one.owner->to_start_ > 0) one.owner->start(one);
}

void uv_reader::operator()(std::uint64_t operations) {
  to_start_ = operations;
  for (slot& each : slots_) {
    if (to_start_ > 0) start(each);
  }
  ::uv_run(&loop_, UV_RUN_DEFAULT);
}

}  // namespace

contestant libuv(unsigned pool, const workload& work, timed_by by, preparation before) {
  const std::string threads = std::to_string(pool);
  if (work.kind == work_kind::durable)
    return absent("libuv", "its durable writes are not measured.");
  return in_child(
      "libuv, pool of " + threads, by,
      [work, threads]() -> std::function<void(std::uint64_t)> {
        ::setenv("UV_THREADPOOL_SIZE", threads.c_str(), 1);
        auto made = std::make_shared<uv_reader>(work);
        return [made](std::uint64_t operations) { (*made)(operations); };
      },
      std::move(before));
}

}  // namespace weir::bench

#else

namespace weir::bench {

contestant libuv(unsigned, const workload&, timed_by, preparation) {
  return absent("libuv", "libuv1-dev was not there when this was built.");
}

}  // namespace weir::bench

#endif
