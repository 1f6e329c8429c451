#include "weir/file_system.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "file_state.hpp"
#include "weir/io_context.hpp"

namespace weir {
namespace detail {
namespace {

constexpr std::size_t dirents_size = 64 * std::size_t{1024};

bool holds_nul(const std::string& path) noexcept { return path.find('\0') != std::string::npos; }

bool has_two_paths(opcode op) noexcept {
  return op == opcode::renameat || op == opcode::linkat || op == opcode::symlinkat;
}

entry_type type_of(unsigned char raw) noexcept {
  switch (raw) {
    case DT_REG:
      return entry_type::regular;
    case DT_DIR:
      return entry_type::directory;
    case DT_LNK:
      return entry_type::symlink;
    case DT_BLK:
      return entry_type::block_device;
    case DT_CHR:
      return entry_type::character_device;
    case DT_FIFO:
      return entry_type::fifo;
    case DT_SOCK:
      return entry_type::socket;
    default:
      return entry_type::unknown;
  }
}

// Appends what getdents64(2) left in `raw`. The layout of `struct linux_dirent64` is that of
// glibc's `struct dirent64`. Answers 0, or ENOMEM with entries missing.
std::int32_t append_entries(std::span<const std::byte> raw,
                            std::vector<directory_entry>& to) noexcept try {
  constexpr std::size_t name_at = offsetof(struct dirent64, d_name);
  while (raw.size() > name_at) {
    struct dirent64 head;
    std::memcpy(&head, raw.data(), name_at);
    const std::size_t length = std::min<std::size_t>(head.d_reclen, raw.size());
    if (length <= name_at) return -EIO;
    const auto* text = reinterpret_cast<const char*>(raw.data()) + name_at;
    const std::string_view name(text, ::strnlen(text, length - name_at));
    if (name != "." && name != "..") {
      to.push_back({std::string(name), type_of(head.d_type), head.d_ino});
    }
    raw = raw.subspan(length);
  }
  return 0;
} catch (const std::bad_alloc&) {
  return -ENOMEM;
}

}  // namespace

// --- one call ------------------------------------------------------------------------------------

path_state::path_state(io_context& context, request_on_paths asked) noexcept
    : awaited_operation(&context, asked.what, nullptr),
      first_(std::move(asked.first)),
      second_(std::move(asked.second)),
      refused_(holds_nul(first_) || holds_nul(second_)) {
  args.address = first_.data();
  if (has_two_paths(args.op)) args.offset = reinterpret_cast<std::uintptr_t>(second_.data());
  if (refused_) set_answer(-EINVAL);
}

path_status_state::path_status_state(io_context& context, request_on_paths asked) noexcept
    : stat_state(&context, asked.what, nullptr),
      path_(std::move(asked.first)),
      refused_(holds_nul(path_)) {
  args.address = path_.data();
  if (refused_) set_answer(-EINVAL);
}

// --- directories ---------------------------------------------------------------------------------

result<directory_reader> open_directory_state::take() noexcept {
  result<file> opened = open_state::take();
  if (!opened) return std::unexpected(opened.error());
  return directory_reader(*std::move(opened));
}

next_entries_state::next_entries_state(io_context* context, const request& what, file_state* file)
    : awaited_operation(context, what, file, &heard) {
  if (context == nullptr) return;
  raw_ = buffer(dirents_size);
  args.address = raw_.data();
  args.length = dirents_size;
}

void next_entries_state::heard(operation& op) noexcept {
  auto& self = static_cast<next_entries_state&>(op);
  if (self.answer() > 0) {
    const auto length = static_cast<std::size_t>(self.answer());
    const std::int32_t failed = append_entries(self.raw_.first(length), self.entries_);
    if (failed != 0) {
      self.set_answer(failed);
    } else if (self.entries_.empty()) {  // an empty answer means the end
      if (!self.stopped_) return self.repeat();
      self.set_answer(was_cancelled);
    }
  }
  self.end();
}

result<std::vector<directory_entry>> next_entries_state::take() noexcept {
  if (answer() < 0) return std::unexpected(errno_code(-answer()));
  return std::move(entries_);
}

list_state::list_state(io_context& context, request_on_paths asked)
    : awaited_operation(&context, asked.what, nullptr, &stepped),
      path_(std::move(asked.first)),
      raw_(dirents_size),
      refused_(holds_nul(path_)) {
  args.address = path_.data();
  if (refused_) error_ = -EINVAL;
}

void list_state::stepped(operation& op) noexcept {
  auto& self = static_cast<list_state&>(op);
  self.go_on() ? self.repeat() : self.end();
}

// False when it is over.
bool list_state::go_on() noexcept {
  switch (args.op) {
    case opcode::openat:
      if (answer() < 0) {
        error_ = answer();
        return false;
      }
      args = {
          .op = opcode::getdents, .fd = answer(), .address = raw_.data(), .length = dirents_size};
      return stopped_ ? close_after(was_cancelled) : true;
    case opcode::getdents: {
      if (answer() <= 0) return close_after(answer());
      const auto length = static_cast<std::size_t>(answer());
      const std::int32_t failed = append_entries(raw_.first(length), entries_);
      if (failed != 0) return close_after(failed);
      return stopped_ ? close_after(was_cancelled) : true;
    }
    default:
      // Cancelled before it began, by a context that shuts down: the descriptor must not leak.
      if (answer() == -ECANCELED) set_answer(perform_now(*context(), args));
      if (error_ == 0) error_ = answer();
      return false;
  }
}

bool list_state::close_after(std::int32_t outcome) noexcept {
  error_ = outcome;
  args = {.op = opcode::close, .fd = args.fd};
  return true;
}

result<std::vector<directory_entry>> list_state::take() noexcept {
  if (error_ < 0) return std::unexpected(errno_code(-error_));
  return std::move(entries_);
}

}  // namespace detail

next_entries_sender directory_reader::next() noexcept {
  detail::file_state* state = detail::state_of(opened_);
  return {state != nullptr ? state->context : nullptr,
          {.op = opcode::getdents, .fd = native_handle()},
          state};
}

open_directory_sender open_directory(io_context& context, path_view path, int directory) {
  return {context, {.fd = directory}, path};
}

list_sender list_directory(io_context& context, path_view path, int directory) {
  constexpr std::uint32_t flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  return {context, {.op = opcode::openat, .fd = directory, .flags = flags}, path};
}

// --- names ---------------------------------------------------------------------------------------

namespace {

std::uint32_t flags_of(rename_mode mode) noexcept {
  switch (mode) {
    case rename_mode::no_replace:
      return RENAME_NOREPLACE;
    case rename_mode::exchange:
      return RENAME_EXCHANGE;
    case rename_mode::replace:
      break;
  }
  return 0;
}

// A second descriptor travels in `mode`.
std::uint32_t second(int fd) noexcept { return static_cast<std::uint32_t>(fd); }

}  // namespace

path_sender rename(io_context& context, path_view from, path_view to,
                   const rename_options& options) {
  const request what{.op = opcode::renameat,
                     .fd = options.from_directory,
                     .flags = flags_of(options.mode),
                     .mode = second(options.to_directory)};
  return {context, what, from, to};
}

path_sender remove_file(io_context& context, path_view path, int directory) {
  return {context, {.op = opcode::unlinkat, .fd = directory}, path};
}

path_sender remove_directory(io_context& context, path_view path, int directory) {
  return {context, {.op = opcode::unlinkat, .fd = directory, .flags = AT_REMOVEDIR}, path};
}

path_sender make_directory(io_context& context, path_view path, std::uint32_t mode, int directory) {
  return {context, {.op = opcode::mkdirat, .fd = directory, .mode = mode}, path};
}

path_sender link(io_context& context, path_view existing, path_view path,
                 const link_options& options) {
  const request what{.op = opcode::linkat,
                     .fd = options.from_directory,
                     .flags = options.follow ? std::uint32_t{AT_SYMLINK_FOLLOW} : 0,
                     .mode = second(options.to_directory)};
  return {context, what, existing, path};
}

path_sender symlink(io_context& context, path_view target, path_view path, int directory) {
  return {context, {.op = opcode::symlinkat, .mode = second(directory)}, target, path};
}

path_status_sender status(io_context& context, path_view path, int directory) {
  return {context, {.op = opcode::statx, .fd = directory}, path};
}

path_status_sender symlink_status(io_context& context, path_view path, int directory) {
  return {context, {.op = opcode::statx, .fd = directory, .flags = AT_SYMLINK_NOFOLLOW}, path};
}

// --- two descriptors, and memory -----------------------------------------------------------------

namespace {

// As `request` says: the second offset travels in `address`.
request between(opcode op, int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                std::size_t length, unsigned flags) noexcept {
  return {.op = op,
          .fd = from,
          .flags = flags,
          .mode = second(to),
          .address = reinterpret_cast<void*>(static_cast<std::uintptr_t>(to_offset)),
          .offset = from_offset,
          .length = length};
}

}  // namespace

io_sender copy_range(io_context& context, int from, std::uint64_t from_offset, int to,
                     std::uint64_t to_offset, std::size_t length) noexcept {
  return {&context, between(opcode::copy_file_range, from, from_offset, to, to_offset, length, 0)};
}

io_sender splice(io_context& context, int from, std::uint64_t from_offset, int to,
                 std::uint64_t to_offset, std::size_t length, unsigned flags) noexcept {
  return {&context, between(opcode::splice, from, from_offset, to, to_offset, length, flags)};
}

io_void_sender advise_memory(io_context& context, std::span<std::byte> memory,
                             int advice) noexcept {
  return {&context, request{.op = opcode::madvise,
                            .flags = static_cast<std::uint32_t>(advice),
                            .address = memory.data(),
                            .length = memory.size()}};
}

}  // namespace weir
