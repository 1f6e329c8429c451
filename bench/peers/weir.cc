#include "weir/weir.hpp"

#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "peers/peers.hpp"

namespace weir::bench {
namespace {

class coroutines {
 public:
  coroutines(const driver_options& options, const workload& work);
  void operator()(std::uint64_t operations);

 private:
  task<void> work_on(buffer& memory);

  workload work_;
  places places_;
  io_context context_;
  buffer_pool pool_;
  std::vector<buffer> memory_;
  std::vector<file> files_;
  std::uint64_t left_ = 0;
};

coroutines::coroutines(const driver_options& options, const workload& work)
    : work_(work),
      places_(work),
      context_(open_driver(options).value()),
      pool_(context_, work.block, work.depth) {
  for (unsigned slot = 0; slot < work.depth; ++slot) memory_.push_back(pool_.try_take().value());
  for (const int each : work.files) files_.emplace_back(context_, checked("dup", ::dup(each)));
}

void coroutines::operator()(std::uint64_t operations) {
  left_ = operations;
  std::vector<task<void>> all;
  all.reserve(memory_.size());
  for (buffer& each : memory_) all.push_back(work_on(each));
  context_.run([](std::vector<task<void>> each) -> task<void> {
    co_await when_all(std::move(each));
  }(std::move(all)));
}

void expect_all(const result<std::size_t>& moved, std::size_t wanted) {
  if (moved && *moved == wanted) return;
  expect_whole("weir", moved ? static_cast<long long>(*moved) : -moved.error().value(), wanted);
}

task<void> coroutines::work_on(buffer& memory) {
  while (left_ > 0) {
    --left_;
    const place where = places_.next();
    file& at = files_[where.file];
    if (!where.write) {
      expect_all(co_await at.read_at(memory.span(), where.offset), work_.block);
      continue;
    }
    expect_all(co_await at.write_at(memory.span(), where.offset), work_.block);
    if (work_.kind != work_kind::durable) continue;
    if (const auto synced = co_await at.datasync(); !synced) {
      fail("datasync", synced.error().value());
    }
  }
}

}  // namespace

contestant weir_on(const driver_options& options, const workload& work, timed_by by,
                   preparation before) {
  std::string name = "weir " + std::string(options.name);
  if (options.threads != 0) name += ", pool of " + std::to_string(options.threads);
  auto opened = open_driver(options);
  if (!opened) return absent(name, opened.error().message() + ".");
  auto made = std::make_shared<coroutines>(options, work);
  return in_process(
      name, by, [made](std::uint64_t operations) { (*made)(operations); }, std::move(before));
}

}  // namespace weir::bench
