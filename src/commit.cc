#include "weir/commit.hpp"

#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "commit_group.hpp"
#include "file_state.hpp"

namespace weir {
namespace {

using detail::commit_group;
using detail::errno_code;
using detail::file_state;

// --- commits -------------------------------------------------------------------------------------

/// Closing waits for this, as for an operation in flight.
class kept_open {
 public:
  explicit kept_open(file_state& which) noexcept : file_(which) {
    file_.count_start(file_.context->on_own_thread());
  }
  kept_open(const kept_open&) = delete;
  kept_open& operator=(const kept_open&) = delete;
  ~kept_open() { detail::finish(&file_); }

 private:
  file_state& file_;
};

commit_group& group_of(file_state& of) {
  if (!of.commits) of.commits = std::make_unique<commit_group>(of);
  return *of.commits;
}

transfer_result nothing_written(int error) noexcept {
  return {std::unexpected(errno_code(error)), 0};
}

whole_sender write_of(file_state& to, const pending_write& what, durability how) noexcept {
  const request written{
      .op = opcode::write,
      .hints = to.direct ? hint::direct : std::uint8_t{0},
      .fd = to.fd,
      .flags = detail::flags_of(how),
      .address = const_cast<std::byte*>(what.bytes.data()),  // the kernel reads through it
      .offset = what.offset,
      .length = what.bytes.size()};
  return {to.context, written, &to};
}

/// Without a barrier. Fails with the first failure, in their order, when all have ended.
task<transfer_result> write_all(file_state& to, std::span<const pending_write> writes) {
  if (writes.size() == 1) co_return co_await write_of(to, writes.front(), durability::none);
  std::vector<whole_sender> senders;
  senders.reserve(writes.size());
  for (const pending_write& each : writes) {
    senders.push_back(write_of(to, each, durability::none));
  }
  const std::vector<transfer_result> outcomes = co_await when_all(std::move(senders));
  std::size_t written = 0;
  std::optional<std::error_code> failed;
  for (const transfer_result& each : outcomes) {
    written += each.transferred;
    if (!each && !failed) failed = each.error();
  }
  if (failed) co_return transfer_result{std::unexpected(*failed), written};
  co_return transfer_result{written, written};
}

}  // namespace

task<transfer_result> commit(file& target, std::vector<pending_write> writes, durability how) {
  file_state* const state = detail::state_of(target);
  if (state == nullptr) co_return nothing_written(EBADF);
  if (state->appends) co_return nothing_written(EINVAL);
  const kept_open keep(*state);
  if (!state->context->on_own_thread()) {
    // Cancelled or not, it has arrived; what it does there will be told.
    [[maybe_unused]] const result<void> arrived = co_await state->context->schedule();
  }
  commit_group& group = group_of(*state);
  const commit_group::membership counted(group);
  const std::int32_t poisoned = state->failed_sync.load(std::memory_order_relaxed);
  if (poisoned != 0) co_return nothing_written(-poisoned);
  if (writes.size() == 1 && counted.alone()) {
    co_return co_await write_of(*state, writes.front(), how);
  }
  const transfer_result written = co_await write_all(*state, writes);
  if (!written || how == durability::none) co_return written;
  const std::int32_t answer = co_await commit_group::barrier(group, how);
  if (answer == 0) co_return written;
  co_return transfer_result{std::unexpected(errno_code(-answer)), written.transferred};
}

task<transfer_result> commit(file& target, std::span<const std::byte> bytes, std::uint64_t offset,
                             durability how) {
  return commit(target, std::vector<pending_write>{{bytes, offset}}, how);
}

// --- directories ---------------------------------------------------------------------------------

namespace {

/// A path, as the directory that a name is in, and the name.
struct place {
  std::string directory;
  std::string name;
};

// Nothing for a path that names no file, whatever is there.
std::optional<place> place_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  const std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  if (name.empty() || path.find('\0') != std::string_view::npos) return std::nullopt;
  if (slash == std::string_view::npos) return place{".", std::string(name)};
  return place{std::string(path.substr(0, slash == 0 ? 1 : slash)), std::string(name)};
}

open_sender open_parent(io_context& context, const place& of, int directory,
                        std::uint32_t resolve = 0) {
  const open_options options{.only_directory = true, .resolve = resolve, .directory = directory};
  return open(context, of.directory, options);
}

/// A name that is to go again, unless it is kept. What its owner could not remove on the context,
/// because that shuts down or memory has run out, goes with this.
class unfinished_name {
 public:
  unfinished_name(int directory, std::string name) noexcept
      : directory_(directory), name_(std::move(name)) {}
  unfinished_name(const unfinished_name&) = delete;
  unfinished_name& operator=(const unfinished_name&) = delete;
  ~unfinished_name() {
    if (there_) ::unlinkat(directory_, name_.c_str(), 0);
  }

  const std::string& text() const noexcept { return name_; }
  void appears() noexcept { there_ = true; }
  void keep() noexcept { there_ = false; }
  task<void> remove(io_context& context) {
    const result<void> removed = co_await remove_file(context, name_, directory_);
    if (removed) there_ = false;
  }

 private:
  const int directory_;
  const std::string name_;
  bool there_ = false;
};

std::error_code error_of(const result<void>& outcome) noexcept {
  return outcome ? std::error_code{} : outcome.error();
}

task<std::error_code> close_after(file& opened, std::error_code failed) {
  const result<void> closed = co_await opened.close();
  co_return failed ? failed : error_of(closed);
}

task<result<void>> sync_directory_at(io_context& context, std::string path, int directory) {
  const open_options options{.only_directory = true, .directory = directory};
  result<file> opened = co_await open(context, path, options);
  if (!opened) co_return std::unexpected(opened.error());
  const result<void> synced = co_await opened->sync();
  const std::error_code failed = co_await close_after(*opened, error_of(synced));
  if (failed) co_return std::unexpected(failed);
  co_return result<void>{};
}

// --- creating ------------------------------------------------------------------------------------

task<result<file>> create_at(io_context& context, std::string path, open_options options) {
  const std::optional<place> where = place_of(path);
  if (!where) co_return std::unexpected(errno_code(EINVAL));
  result<file> parent = co_await open_parent(context, *where, options.directory, options.resolve);
  if (!parent) co_return std::unexpected(parent.error());
  unfinished_name name(parent->native_handle(), where->name);
  options.create = options.exclusive = true;
  options.directory = parent->native_handle();
  options.resolve = 0;  // of one name without links there is nothing left to resolve
  result<file> created = co_await open(context, where->name, options);
  if (!created) co_return created;
  name.appears();
  result<void> synced = co_await created->sync();
  if (synced) synced = co_await parent->sync();
  if (synced) {
    name.keep();
    co_return created;
  }
  const std::error_code failed = co_await close_after(*created, synced.error());
  co_await name.remove(context);
  co_return std::unexpected(failed);
}

// --- replacing -----------------------------------------------------------------------------------

// Names that others cannot guess; that they are new O_EXCL sees to.
result<std::string> temporary_name(io_context& context) {
  const auto number = detail::random_bits(context);
  if (!number) return std::unexpected(number.error());
  std::string name = ".weir-";
  for (int digit = 0; digit < 16; ++digit) name += "0123456789abcdef"[*number >> 4 * digit & 15];
  return name;
}

task<std::error_code> write_sync_close(file& target, std::span<const std::byte> bytes) {
  const transfer_result written = co_await target.write_all_at(bytes, 0);
  if (!written) co_return co_await close_after(target, written.error());
  const result<void> synced = co_await target.sync();
  co_return co_await close_after(target, error_of(synced));
}

replace_result not_replaced(std::error_code why) noexcept { return {std::unexpected(why), false}; }

task<replace_result> replace_at(io_context& context, std::string path,
                                std::span<const std::byte> bytes, replace_options options) {
  const std::optional<place> where = place_of(path);
  if (!where) co_return not_replaced(errno_code(EINVAL));
  result<file> parent = co_await open_parent(context, *where, options.directory);
  if (!parent) co_return not_replaced(parent.error());
  const int directory = parent->native_handle();
  result<std::string> chosen = temporary_name(context);
  if (!chosen) co_return not_replaced(chosen.error());
  unfinished_name name(directory, *std::move(chosen));
  const open_options creating{.read = false,
                              .write = true,
                              .create = true,
                              .exclusive = true,
                              .mode = options.mode,
                              .directory = directory};
  result<file> created = co_await open(context, name.text(), creating);
  if (!created) co_return not_replaced(created.error());
  name.appears();
  std::error_code failed = co_await write_sync_close(*created, bytes);
  if (!failed) {
    const rename_options within{.from_directory = directory, .to_directory = directory};
    failed = error_of(co_await rename(context, name.text(), where->name, within));
  }
  if (failed) {
    co_await name.remove(context);
    co_return not_replaced(failed);
  }
  name.keep();
  co_return replace_result{co_await parent->sync(), true};
}

}  // namespace

task<result<void>> sync_directory(io_context& context, path_view path, int directory) {
  return sync_directory_at(context, std::string(path.text()), directory);
}

task<result<file>> create_durably(io_context& context, path_view path, open_options options) {
  return create_at(context, std::string(path.text()), options);
}

task<replace_result> replace_file(io_context& context, path_view path,
                                  std::span<const std::byte> bytes, replace_options options) {
  return replace_at(context, std::string(path.text()), bytes, options);
}

}  // namespace weir
