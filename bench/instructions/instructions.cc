// One kind of operation, so many of them, on the uring driver: what scripts/check-instructions
// counts the instructions of.
//
//   instructions KIND COUNT [FILE]     FILE, for those that read, is made and kept

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "weir/weir.hpp"

namespace {

using weir::task;

constexpr std::size_t block = 4096;
constexpr std::size_t blocks = 256;
constexpr std::size_t at_once = 32;

/// Passes everything on, but no reads past it.
class queueing_driver : public weir::driver {
 public:
  explicit queueing_driver(std::unique_ptr<weir::driver> inner) : inner_(std::move(inner)) {}
  void submit(weir::operation_queue& staged) noexcept override { inner_->submit(staged); }
  void reap(weir::operation_queue& completed, weir::deadline until) noexcept override {
    inner_->reap(completed, until);
  }
  void wake() noexcept override { inner_->wake(); }
  int fd() const noexcept override { return inner_->fd(); }

 private:
  std::unique_ptr<weir::driver> inner_;
};

std::unique_ptr<weir::driver> open_driver(bool queued) {
  auto opened = weir::open_driver({.name = "uring", .queue_depth = 64}).value();
  if (!queued) return opened;
  return std::make_unique<queueing_driver>(std::move(opened));
}

struct setting {
  explicit setting(bool queued) : context(open_driver(queued)) {}
  weir::io_context context;
  weir::file file;
  std::vector<weir::buffer> memory;
  std::size_t each = 0;  // operations of one coroutine
};

std::uint64_t offset_of(std::size_t i) { return i * 61 % blocks * block; }

void check(bool as_expected) {
  if (!as_expected) throw std::runtime_error("an operation failed");
}

task<> no_ops(setting& in, std::size_t) {
  for (std::size_t i = 0; i < in.each; ++i) {
    check((co_await in.context.schedule()).has_value());
  }
}

task<> reads(setting& in, std::size_t who) {
  for (std::size_t i = 0; i < in.each; ++i) {
    check(co_await in.file.read_at(in.memory[who].span(), offset_of(i + who)) == block);
  }
}

/// Reads that a callback goes on with.
void read_next(setting& in, std::size_t who, std::size_t left) {
  const auto into = in.memory[who].span();
  weir::start(in.file.read_at(into, offset_of(left + who)), [&in, who, left](auto count) {
    check(count == block);
    if (left > 1) read_next(in, who, left - 1);
  });
}

task<> callbacks(setting& in, std::size_t who) {
  if (in.each > 0) read_next(in, who, in.each);
  co_return;
}

struct kind {
  std::size_t coroutines;
  task<> (*work)(setting&, std::size_t who);
  bool queued = false;  // nothing is read at once
};

const std::map<std::string, kind> kinds = {
    {"no-op", {.coroutines = at_once, .work = &no_ops}},
    {"read-resident", {.coroutines = at_once, .work = &reads}},
    {"read-resident-one-at-a-time", {.coroutines = 1, .work = &reads}},
    {"read-queued", {.coroutines = at_once, .work = &reads, .queued = true}},
    {"read-queued-one-at-a-time", {.coroutines = 1, .work = &reads, .queued = true}},
    {"read-by-callback", {.coroutines = at_once, .work = &callbacks}},
};

task<> prepare(setting& in, const std::string& path) {
  for (std::size_t i = 0; i < at_once; ++i) in.memory.emplace_back(block);
  auto opened = co_await weir::open(in.context, path, {.write = true, .create = true});
  in.file = std::move(opened).value();
  const std::vector<std::byte> content(block * blocks);
  check((co_await in.file.write_all_at(content, 0)).has_value());
}

int run(const kind& which, std::size_t count, const std::string& path) {
  setting in(which.queued);
  in.context.run(prepare(in, path));
  in.each = count / which.coroutines;
  for (std::size_t who = 0; who < which.coroutines; ++who) {
    weir::spawn(in.context, which.work(in, who));
  }
  in.context.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto found = argc == 4 ? kinds.find(argv[1]) : kinds.end();
  if (found == kinds.end()) {
    std::fputs("usage: instructions KIND COUNT FILE, where KIND is one of\n", stderr);
    for (const auto& each : kinds) std::fprintf(stderr, "  %s\n", each.first.c_str());
    return 2;
  }
  return run(found->second, std::strtoul(argv[2], nullptr, 10), argv[3]);
}
