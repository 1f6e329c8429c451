// What getdents64(2) may leave in memory, read as a directory's entries. Each answer is a length of
// two bytes, the lowest first, and that many bytes.

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "support/choices.hpp"
#include "support/promise.hpp"
#include "weir/file_system.hpp"
#include "weir/weir.hpp"

namespace {

using weir::fuzzing::promise;

/// A kernel that says what the input says.
class told_driver final : public weir::driver {
 public:
  explicit told_driver(weir::testing::choices& by) noexcept : by_(by) {}

  void submit(weir::operation_queue& staged) noexcept override {
    while (!staged.empty()) {
      weir::operation& op = staged.pop_front();
      op.set_answer(answer(op.args));
      done_.push_back(op);
    }
  }
  void reap(weir::operation_queue& completed, weir::deadline) noexcept override {
    completed.append(std::move(done_));
  }
  void wake() noexcept override {}
  int fd() const noexcept override { return -1; }

 private:
  std::int32_t answer(const weir::request& what) noexcept {
    if (what.op == weir::opcode::openat) return 1'000'000;  // no descriptor is so great
    if (what.op != weir::opcode::getdents) return 0;
    const std::string_view entries = by_.bytes(std::min<std::uint64_t>(by_.number(2), what.length));
    std::memcpy(what.address, entries.data(), entries.size());
    return static_cast<std::int32_t>(entries.size());
  }

  weir::testing::choices& by_;
  weir::operation_queue done_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  weir::testing::choices by({data, size});
  weir::io_context context(std::make_unique<told_driver>(by));
  const auto listed = context.run(
      [](weir::io_context& on) -> weir::task<weir::result<std::vector<weir::directory_entry>>> {
        co_return co_await weir::list_directory(on, "anywhere");
      }(context));
  if (!listed) {
    promise(listed.error() == std::errc::io_error);
    return 0;
  }
  for (const weir::directory_entry& each : *listed) {
    promise(each.name != "." && each.name != "..");
    promise(each.name.find('\0') == std::string::npos);
  }
  return 0;
}
