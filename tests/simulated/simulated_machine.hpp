#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "support/support.hpp"
#include "weir/simulated.hpp"

namespace weir::testing {

inline simulated_disk disk_with(const simulated_options& options) {
  return simulated_disk::make(options).value();
}

/// A simulated disk with a context on it, and what tests do there.
struct machine {
  explicit machine(const simulated_options& options) : machine(disk_with(options)) {}
  explicit machine(simulated_disk of) : disk(std::move(of)), context(disk.open_driver().value()) {}

  /// What is there after a power failure.
  machine after_power_failure() { return machine(disk.power_on()); }

  std::int32_t answer_to(const request& what) {
    recorded op(what);
    context.start(op);
    context.run();
    EXPECT_EQ(op.completions, 1);
    return op.answer();
  }

  template <class Sender>
  auto wait_for(Sender sender) {
    return context.run(awaited(std::move(sender)));
  }

  file opened(const std::string& path,
              const open_options& options = {.write = true, .create = true}) {
    return wait_for(open(context, path, options)).value();
  }
  std::int32_t write(file& to, std::string_view text, std::uint64_t offset = 0) {
    return answer_to(write_request(to.native_handle(), std::as_bytes(std::span(text)), offset));
  }
  std::int32_t resize(file& what, std::uint64_t size) {
    return answer_to({.op = opcode::ftruncate, .fd = what.native_handle(), .offset = size});
  }
  std::int32_t sync(file& what) {
    return answer_to({.op = opcode::fsync, .fd = what.native_handle()});
  }
  std::error_code sync_root() { return error_of(context.run(sync_directory(context, "/"))); }

  /// "-" where there is none.
  std::string contents(const std::string& path) { return context.run(read_whole(path)); }

  simulated_disk disk;
  io_context context;

 private:
  template <class Sender>
  static task<typename Sender::value_type> awaited(Sender sender) {
    co_return co_await std::move(sender);
  }

  task<std::string> read_whole(std::string path) {
    auto from = co_await open(context, path);
    if (!from) co_return "-";
    std::string text(16384, '\0');
    const auto count = co_await from->read_at(std::as_writable_bytes(std::span(text)), 0);
    co_return count ? text.substr(0, *count) : "error: " + count.error().message();
  }
};

inline std::string all(char what, std::size_t count) { return std::string(count, what); }

/// Nothing becomes durable by itself.
inline simulated_options quiet() { return {.writeback = 0}; }

}  // namespace weir::testing
