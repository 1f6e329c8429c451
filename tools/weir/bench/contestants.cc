#include "bench/contestants.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <utility>

#include "bench/results.hpp"
#include "failures.hpp"
#include <weir/weir.hpp>

namespace weir::tools::bench {
namespace {

constexpr std::string_view merging = "merging:";

// The file had as many bytes when it was opened.
std::error_code became_shorter() noexcept { return make_error_code(errc::short_read); }

std::unexpected<std::string> cannot_open(const target& file, std::string_view by, int error) {
  return std::unexpected("cannot open " + file.description() + " with " + std::string(by) + ": " +
                         std::system_category().message(error));
}

// --- pread(2) ------------------------------------------------------------------------------------

/// One blocking call after the other, on this thread. Where others have many operations in flight,
/// it takes their memory in turn, so that it finds no more of it in the processor's caches.
class plain_calls final : public contestant {
 public:
  plain_calls(descriptor buffered, descriptor direct)
      : buffered_(std::move(buffered)), direct_(std::move(direct)) {}

  std::string_view name() const noexcept override { return plain; }

  void run(slice& work) override {
    const regime& what = work.what();
    const int fd = (what.cache == cache::direct ? direct_ : buffered_).get();
    unsigned lane = 0;
    work.begin();
    for (std::uint64_t offset = 0; work.next(offset);) {
      const std::error_code error = transfer(fd, work.block(lane), offset, what.work);
      if (error) {
        work.fail(error);
        break;
      }
      work.completed();
      if (++lane == what.depth) lane = 0;
    }
    work.end();
  }

 private:
  static std::error_code transfer(int fd, std::span<std::byte> memory, std::uint64_t offset,
                                  bench::work what) noexcept {
    const auto at = static_cast<off_t>(offset);
    ssize_t count = 0;
    do {
      count = what == work::read ? ::pread(fd, memory.data(), memory.size(), at)
                                 : ::pwrite(fd, memory.data(), memory.size(), at);
    } while (count < 0 && errno == EINTR);
    if (count < 0) return last_error();
    if (std::cmp_not_equal(count, memory.size())) return became_shorter();
    return what == work::durable_write && ::fdatasync(fd) != 0 ? last_error() : std::error_code();
  }

  descriptor buffered_;
  descriptor direct_;
};

std::expected<std::unique_ptr<contestant>, std::string> make_plain(const target& file,
                                                                   bool direct) {
  const std::string path = file.path_to_reopen();
  const int flags = O_CLOEXEC | (file.is_scratch() ? O_RDWR : O_RDONLY);
  descriptor buffered(::open(path.c_str(), flags));
  if (!buffered) return cannot_open(file, plain, buffered.error());
  if (!direct) return std::make_unique<plain_calls>(std::move(buffered), descriptor());
  descriptor past_the_cache(::open(path.c_str(), flags | O_DIRECT));
  if (!past_the_cache) return cannot_open(file, plain, past_the_cache.error());
  return std::make_unique<plain_calls>(std::move(buffered), std::move(past_the_cache));
}

// --- weir's drivers ------------------------------------------------------------------------------

task<void> read_lane(file& from, slice& work, unsigned lane) {
  const std::span<std::byte> memory = work.block(lane);
  for (std::uint64_t offset = 0; work.next(offset);) {
    const result<std::size_t> count = co_await from.read_at(memory, offset);
    if (!count) co_return work.fail(count.error());
    if (*count != memory.size()) co_return work.fail(became_shorter());
    work.completed();
  }
}

task<void> write_lane(file& to, slice& work, unsigned lane) {
  const std::span<const std::byte> memory = work.block(lane);
  const bool durable = work.what().work == bench::work::durable_write;
  for (std::uint64_t offset = 0; work.next(offset);) {
    const result<std::size_t> count = co_await to.write_at(memory, offset);
    if (!count) co_return work.fail(count.error());
    if (*count != memory.size()) co_return work.fail(became_shorter());
    if (durable) {
      const result<void> synced = co_await to.datasync();
      if (!synced) co_return work.fail(synced.error());
    }
    work.completed();
  }
}

/// As many coroutines as there are to be operations in flight, on one thread and one file.
task<void> all_lanes(file& on, slice& work) {
  std::vector<task<void>> lanes;
  const regime& what = work.what();
  lanes.reserve(what.depth);
  for (unsigned lane = 0; lane < what.depth; ++lane) {
    lanes.push_back(what.work == bench::work::read ? read_lane(on, work, lane)
                                                   : write_lane(on, work, lane));
  }
  co_await when_all(std::move(lanes));
}

class coroutines final : public contestant {
 public:
  coroutines(std::string name, std::unique_ptr<driver> driver)
      : name_(std::move(name)), context_(std::move(driver)) {}

  std::error_code open(const target& file, bool direct) {
    const open_options options{.write = file.is_scratch()};
    if (const auto error = open(buffered_, file, options)) return error;
    if (!direct) return {};
    return open(direct_, file, {.write = file.is_scratch(), .direct = true});
  }

  std::string_view name() const noexcept override { return name_; }

  void run(slice& work) override {
    work.begin();
    context_.run(all_lanes(work.what().cache == cache::direct ? direct_ : buffered_, work));
    work.end();
  }

 private:
  std::error_code open(file& to, const target& file, const open_options& options) {
    auto opened = context_.run(open_file(context_, file.path_to_reopen(), options));
    if (!opened) return opened.error();
    to = *std::move(opened);
    return {};
  }
  static task<result<file>> open_file(io_context& context, std::string path, open_options options) {
    co_return co_await weir::open(context, path, options);
  }

  std::string name_;
  io_context context_;
  file buffered_;
  file direct_;
};

/// Nothing where the driver is not available, which is then among `absent`.
std::expected<std::unique_ptr<contestant>, std::string> make_coroutines(
    const target& file, bool direct, const std::string& name, std::vector<absence>& absent) {
  std::vector<driver_report> tried;
  auto opened = open_driver({.name = name, .queue_depth = max_depth}, tried);
  if (!opened) {
    const std::string reason = tried.empty() ? opened.error().message() : tried.back().reason;
    absent.push_back({.driver = name, .reason = reason});
    return nullptr;
  }
  auto made = std::make_unique<coroutines>(name, *std::move(opened));
  if (const auto error = made->open(file, direct)) return cannot_open(file, name, error.value());
  return made;
}

}  // namespace

std::expected<field_of_contestants, std::string> assemble(const target& file, bool direct) {
  field_of_contestants all;
  auto calls = make_plain(file, direct);
  if (!calls) return std::unexpected(calls.error());
  all.contestants.push_back(*std::move(calls));

  const auto add = [&](const std::string& name) -> std::optional<std::string> {
    auto made = make_coroutines(file, direct, name, all.absent);
    if (!made) return made.error();
    if (*made) all.contestants.push_back(*std::move(made));
    return {};
  };
  for (const driver_report& each : probe_drivers()) {
    if (auto error = add(std::string(each.name))) return std::unexpected(*std::move(error));
  }
  if (all.contestants.size() < 2) return all;
  const std::string first(all.contestants[1]->name());
  if (auto error = add(std::string(merging) + first)) return std::unexpected(*std::move(error));
  return all;
}

bool takes_part(const contestant& who, const regime& what) noexcept {
  return what.neighbours || !who.name().starts_with(merging);
}

}  // namespace weir::tools::bench
