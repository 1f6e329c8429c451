// Two ready files, written a piece at a time without waiting, and synced now and then. What was
// accepted before a sync that has happened is found.

#include <poll.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

#include "durability/contents.hpp"
#include "durability/scenarios/scenarios.hpp"
#include "weir/commit.hpp"
#include "weir/ready_file.hpp"

namespace weir::scenarios {
namespace {

constexpr std::array<std::string_view, 2> file_names{"ready1", "ready2"};
constexpr std::size_t largest_piece = 12000;

std::string path_of(const surroundings& where, std::string_view name) {
  return where.directory + '/' + std::string(name);
}

/// One file of a table of its own, whose events this coroutine waits for.
class written_file {
 public:
  written_file(const surroundings& where, promises& told, std::string_view name)
      : where_(where),
        told_(told),
        name_(name),
        files_({.files = 1, .write_behind = 32768, .block_size = 4096}, where.another_driver()) {}

  task<std::error_code> write();

 private:
  task<std::error_code> open();
  task<std::error_code> write_piece(unsigned number);
  task<std::error_code> sync(durability how);
  task<result<ready_event>> event();

  const surroundings& where_;
  promises& told_;
  const std::string_view name_;
  ready_files files_;
  int handle_ = -1;
  std::uint64_t accepted_ = 0;
};

task<result<ready_event>> written_file::event() {
  for (;;) {
    if (const std::optional<ready_event> next = files_.next()) co_return *next;
    const result<unsigned> ready = co_await where_.context.poll(files_.fd(), POLLIN);
    if (!ready) co_return std::unexpected(ready.error());
  }
}

task<std::error_code> written_file::open() {
  result<file> created = co_await create_durably(where_.context, path_of(where_, name_));
  if (!created) co_return created.error();
  const result<void> closed = co_await created->close();
  if (!closed) co_return closed.error();
  const result<int> handle = files_.open(path_of(where_, name_), open_options{.write = true});
  if (!handle) co_return handle.error();
  handle_ = *handle;
  const result<ready_event> opened = co_await event();
  co_return opened ? opened->error : opened.error();
}

task<std::error_code> written_file::write_piece(unsigned number) {
  const std::string choice = std::string(name_) + " piece";
  std::vector<std::byte> piece(1 + drawn(where_.seed, choice, number) % largest_piece);
  fill(piece, where_.seed, name_, accepted_);
  std::span<const std::byte> left = piece;
  while (!left.empty()) {
    const result<std::size_t> taken = files_.try_write(handle_, left);
    if (taken) {
      accepted_ += *taken;
      left = left.subspan(*taken);
      continue;
    }
    if (taken.error().value() != EAGAIN) co_return taken.error();
    const result<ready_event> writable = co_await event();
    if (!writable) co_return writable.error();
  }
  co_return std::error_code{};
}

// An event that something can be written again may come first.
task<std::error_code> written_file::sync(durability how) {
  const result<void> begun = files_.sync(handle_, how);
  if (!begun) co_return begun.error();
  for (;;) {
    const result<ready_event> came = co_await event();
    if (!came) co_return came.error();
    if (came->what != ready::synced) continue;
    if (came->error) co_return came->error;
    const bool durable = how != durability::none;
    told_.promise(name_, accepted_, durable ? survives::power_loss : survives::process_end);
    co_return std::error_code{};
  }
}

task<std::error_code> written_file::write() {
  constexpr std::array ways{durability::none, durability::data, durability::full};
  std::error_code failed = co_await open();
  for (unsigned number = 0; !failed && number < 2 * where_.rounds; ++number) {
    failed = co_await write_piece(number);
    if (failed) break;
    const std::string choice = std::string(name_) + " sync";
    failed = co_await sync(ways.at(drawn(where_.seed, choice, number) % ways.size()));
  }
  if (failed) co_return failed;
  // Within the last piece, which nobody synced: closing gives it to the kernel.
  failed = co_await write_piece(2 * where_.rounds);
  const result<void> closed = files_.close_and_wait(handle_);
  if (failed) co_return failed;
  if (!closed) co_return closed.error();
  told_.promise(name_, accepted_, survives::process_end);
  co_return std::error_code{};
}

task<std::error_code> write_one(const surroundings& where, promises& told, std::string_view name) {
  written_file target(where, told, name);
  co_return co_await target.write();
}

task<result<void>> run(const surroundings& where, promises& told) {
  auto [first, second] = co_await when_all(write_one(where, told, file_names[0]),
                                           write_one(where, told, file_names[1]));
  if (first) co_return std::unexpected(first);
  if (second) co_return std::unexpected(second);
  co_return result<void>{};
}

task<violations> check(const surroundings& where, const promise_book& kept) {
  violations wrong;
  for (const std::string_view name : file_names) {
    const std::uint64_t promised = kept.version_of(name);
    if (promised == 0) continue;
    const auto found = co_await contents_of(where.context, path_of(where, name));
    if (!found) {
      wrong.push_back(failure("read", path_of(where, name), found.error()));
    } else if (found->size() < promised) {
      wrong.push_back(std::string(name) + " is " + std::to_string(found->size()) +
                      " bytes long, and " + std::to_string(promised) + " were synced");
    } else if (!is_filled(std::span(*found).first(promised), where.seed, name)) {
      wrong.push_back(std::string(name) + "'s first " + std::to_string(promised) +
                      " bytes are not what was synced");
    }
  }
  co_return wrong;
}

}  // namespace

scenario ready_files_written() {
  return {.name = "ready files", .run = &run, .check = &check, .has_threads = true};
}

}  // namespace weir::scenarios
