#include "latency/readers.hpp"

#if WEIR_BENCH_LIBUV

#include <uv.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace weir::bench {
namespace {

class uv_reader : public reader {
 public:
  explicit uv_reader(const workload& work)
      : work_(work), places_(work), memory_(work), slots_(work.depth) {
    checked("uv_loop_init", ::uv_loop_init(&loop_));
    for (unsigned i = 0; i < work.depth; ++i) {
      slots_[i].owner = this;
      slots_[i].request.data = &slots_[i];
      slots_[i].memory =
          ::uv_buf_init(reinterpret_cast<char*>(memory_[i]), static_cast<unsigned>(work.block));
      free_.push_back(&slots_[i]);
    }
  }
  uv_reader(const uv_reader&) = delete;
  uv_reader& operator=(const uv_reader&) = delete;
  ~uv_reader() override { ::uv_loop_close(&loop_); }

  void start(std::size_t number) override {
    slot& one = *free_.back();
    free_.pop_back();
    one.number = number;
    checked("uv_fs_read",
            ::uv_fs_read(&loop_, &one.request, work_.files.front(), &one.memory, 1,
                         static_cast<std::int64_t>(places_.next().offset), &uv_reader::done));
  }
  void poll() override { ::uv_run(&loop_, UV_RUN_NOWAIT); }
  bool has_room() const override { return !free_.empty(); }

 private:
  struct slot {
    uv_fs_t request;
    uv_reader* owner;
    uv_buf_t memory;
    std::size_t number;
  };

  static void done(uv_fs_t* request) {
    slot& one = *static_cast<slot*>(request->data);
    expect_whole("libuv", request->result, one.owner->work_.block);
    ::uv_fs_req_cleanup(request);
    one.owner->free_.push_back(&one);
    one.owner->tell(one.number);
  }

  workload work_;
  places places_;
  blocks memory_;
  uv_loop_t loop_{};
  std::vector<slot> slots_;
  std::vector<slot*> free_;
};

}  // namespace

std::unique_ptr<reader> libuv_reader(unsigned pool, const workload& work) {
  ::setenv("UV_THREADPOOL_SIZE", std::to_string(pool).c_str(), 1);
  return std::make_unique<uv_reader>(work);
}

}  // namespace weir::bench

#else

namespace weir::bench {

std::unique_ptr<reader> libuv_reader(unsigned, const workload&) { return nullptr; }

}  // namespace weir::bench

#endif
