#include <unistd.h>

#include <vector>

#include "latency/readers.hpp"
#include "weir/weir.hpp"

namespace weir::bench {
namespace {

class callback_reader : public reader {
 public:
  callback_reader(const driver_options& options, const workload& work)
      : block_(work.block),
        places_(work),
        memory_(work),
        context_(open_driver(options).value()),
        file_(context_, checked("dup", ::dup(work.files.front()))) {
    for (unsigned slot = 0; slot < work.depth; ++slot) free_.push_back(slot);
  }

  void start(std::size_t number) override {
    const unsigned slot = free_.back();
    free_.pop_back();
    weir::start(file_.read_at({memory_[slot], block_}, places_.next().offset),
                [this, slot, number](const result<std::size_t>& moved) {
                  expect_whole("weir",
                               moved ? static_cast<long long>(*moved) : -moved.error().value(),
                               block_);
                  free_.push_back(slot);
                  tell(number);
                });
  }
  void poll() override { context_.dispatch(false); }
  bool has_room() const override { return !free_.empty(); }

 private:
  std::size_t block_;
  places places_;
  blocks memory_;
  io_context context_;
  file file_;
  std::vector<unsigned> free_;
};

}  // namespace

std::unique_ptr<reader> weir_reader(const driver_options& options, const workload& work) {
  return std::make_unique<callback_reader>(options, work);
}

}  // namespace weir::bench
