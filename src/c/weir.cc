// The C interface: operations in their callers' memory. Nothing but conversions; what is done is
// done by io_context.

#include "weir/weir.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include "conversions.hpp"
#include "weir/io_context.hpp"

namespace {

using weir::detail::driver_options_of;
using weir::detail::errno_kept;
using weir::detail::errno_of;
using weir::detail::read_options;
using weir::detail::without_exceptions;

// C knows errnos only. Of weir's own errors an operation ends with `daemon_lost` alone.
std::int64_t answer_in_c(std::int32_t answer) noexcept {
  return answer < -weir::detail::own_errors ? -ECONNRESET : answer;
}

/// What lives in a `struct weir_op` from its first start on.
struct c_operation : weir::operation {
  c_operation() noexcept : operation({}, &completed) {}

  static void completed(weir::operation& op) noexcept {
    auto& self = static_cast<c_operation&>(op);
    self.done(self.owner, answer_in_c(self.answer()), self.user);
  }

  weir_op* owner = nullptr;
  weir_done* done = nullptr;
  void* user = nullptr;
};

/// The layout of `struct weir_op`. All zeros before the first start.
struct contents {
  std::uint64_t used;
  alignas(c_operation) std::array<std::byte, sizeof(c_operation)> operation;
};
static_assert(sizeof(contents) <= sizeof(weir_op) && alignof(contents) <= alignof(weir_op));

contents& contents_of(weir_op* op) noexcept { return *reinterpret_cast<contents*>(op); }

c_operation* operation_in(weir_op* op) noexcept {
  contents& in = contents_of(op);
  return in.used == 0 ? nullptr : reinterpret_cast<c_operation*>(in.operation.data());
}

const c_operation* operation_in(const weir_op* op) noexcept {
  return operation_in(const_cast<weir_op*>(op));
}

weir::io_context& cpp(weir_context* context) noexcept {
  return *reinterpret_cast<weir::io_context*>(context);
}

int start(weir_context* context, weir_op* op, const weir::request& what, weir_done* done,
          void* user) noexcept {
  if (context == nullptr || op == nullptr || done == nullptr) return -EINVAL;
  const errno_kept kept;
  c_operation* inside = operation_in(op);
  if (inside != nullptr && inside->in_flight()) return -EBUSY;
  if (inside == nullptr) {
    inside = new (contents_of(op).operation.data()) c_operation;
    contents_of(op).used = 1;
  }
  inside->args = what;
  inside->owner = op;
  inside->done = done;
  inside->user = user;
  cpp(context).start(*inside);
  return 0;
}

weir::request transfer(weir::opcode what, int fd, const void* memory, std::uint64_t length,
                       std::uint64_t offset, std::uint32_t flags) noexcept {
  return {.op = what,
          .fd = fd,
          .flags = flags,
          .address = const_cast<void*>(memory),
          .offset = offset,
          .length = length};
}

weir::request of_path(weir::opcode what, int directory, const char* path,
                      std::uint32_t flags = 0) noexcept {
  return {.op = what, .fd = directory, .flags = flags, .address = const_cast<char*>(path)};
}

std::uint64_t number(const void* address) noexcept {
  return reinterpret_cast<std::uintptr_t>(address);
}

std::string in_words(const weir::driver_report& tried) {
  std::string line(tried.name.empty() ? "no driver" : tried.name);
  if (tried.available) return line + ": available\n";
  line += ": " + tried.reason;
  if (!tried.advice.empty()) line += "; " + tried.advice;
  return line + "\n";
}

}  // namespace

// --- contexts ------------------------------------------------------------------------------------

int weir_context_create(weir_context** context, const weir_options* options) {
  if (context == nullptr) return -EINVAL;
  return without_exceptions([&]() -> int {
    weir_options known;
    if (const int error = read_options(options, known); error < 0) return error;
    auto opened = weir::open_driver(driver_options_of(known));
    if (!opened) return errno_of(opened.error());
    auto made = std::make_unique<weir::io_context>(std::move(*opened));
    *context = reinterpret_cast<weir_context*>(made.release());
    return 0;
  });
}

int64_t weir_explain(const weir_options* options, char* text, size_t size) {
  return without_exceptions([&]() -> int64_t {
    weir_options known;
    if (const int error = read_options(options, known); error < 0) return error;
    std::vector<weir::driver_report> tried;
    const auto opened = weir::open_driver(driver_options_of(known), tried);
    std::string all;
    for (const weir::driver_report& each : tried) all += in_words(each);
    if (!opened && tried.empty()) all = opened.error().message() + "\n";
    if (text != nullptr && size != 0) {
      const std::size_t count = std::min(all.size(), size - 1);
      std::memcpy(text, all.data(), count);
      text[count] = '\0';
    }
    return static_cast<int64_t>(all.size());
  });
}

void weir_context_destroy(weir_context* context) {
  const errno_kept kept;
  if (context != nullptr) delete &cpp(context);
}

int weir_context_run(weir_context* context) {
  if (context == nullptr) return -EINVAL;
  const errno_kept kept;
  cpp(context).run();
  return 0;
}

int64_t weir_context_dispatch(weir_context* context, int wait) {
  if (context == nullptr) return -EINVAL;
  const errno_kept kept;
  return static_cast<int64_t>(cpp(context).dispatch(wait != 0));
}

int weir_context_flush(weir_context* context) {
  if (context == nullptr) return -EINVAL;
  const errno_kept kept;
  cpp(context).flush();
  return 0;
}

int weir_context_fd(weir_context* context) {
  if (context == nullptr) return -EINVAL;
  const errno_kept kept;
  return cpp(context).fd();
}

int64_t weir_context_outstanding(weir_context* context) {
  return context == nullptr ? -EINVAL : static_cast<int64_t>(cpp(context).outstanding());
}

int weir_op_in_flight(const weir_op* op) {
  const c_operation* inside = operation_in(op);
  return inside != nullptr && inside->in_flight() ? 1 : 0;
}

int64_t weir_op_result(const weir_op* op) {
  const c_operation* inside = operation_in(op);
  return inside == nullptr || inside->in_flight() ? 0 : answer_in_c(inside->answer());
}

// --- transfers -----------------------------------------------------------------------------------

int weir_read(weir_context* context, weir_op* op, int fd, void* memory, size_t length,
              uint64_t offset, weir_done* done, void* user) {
  return weir_read_flags(context, op, fd, memory, length, offset, 0, done, user);
}

int weir_write(weir_context* context, weir_op* op, int fd, const void* memory, size_t length,
               uint64_t offset, weir_done* done, void* user) {
  return weir_write_flags(context, op, fd, memory, length, offset, 0, done, user);
}

int weir_read_flags(weir_context* context, weir_op* op, int fd, void* memory, size_t length,
                    uint64_t offset, uint32_t flags, weir_done* done, void* user) {
  const auto what = transfer(weir::opcode::read, fd, memory, length, offset, flags);
  return start(context, op, what, done, user);
}

int weir_write_flags(weir_context* context, weir_op* op, int fd, const void* memory, size_t length,
                     uint64_t offset, uint32_t flags, weir_done* done, void* user) {
  const auto what = transfer(weir::opcode::write, fd, memory, length, offset, flags);
  return start(context, op, what, done, user);
}

int weir_readv(weir_context* context, weir_op* op, int fd, const iovec* vector, uint32_t count,
               uint64_t offset, uint32_t flags, weir_done* done, void* user) {
  const auto what = transfer(weir::opcode::readv, fd, vector, count, offset, flags);
  return start(context, op, what, done, user);
}

int weir_writev(weir_context* context, weir_op* op, int fd, const iovec* vector, uint32_t count,
                uint64_t offset, uint32_t flags, weir_done* done, void* user) {
  const auto what = transfer(weir::opcode::writev, fd, vector, count, offset, flags);
  return start(context, op, what, done, user);
}

namespace {

weir::request between(weir::opcode what, int from, std::uint64_t from_offset, int to,
                      std::uint64_t to_offset, std::uint64_t length, std::uint32_t flags) noexcept {
  return {.op = what,
          .fd = from,
          .flags = flags,
          .mode = static_cast<std::uint32_t>(to),
          .address = reinterpret_cast<void*>(to_offset),
          .offset = from_offset,
          .length = length};
}

}  // namespace

int weir_splice(weir_context* context, weir_op* op, int from, uint64_t from_offset, int to,
                uint64_t to_offset, size_t length, uint32_t flags, weir_done* done, void* user) {
  const auto what = between(weir::opcode::splice, from, from_offset, to, to_offset, length, flags);
  return start(context, op, what, done, user);
}

int weir_copy_file_range(weir_context* context, weir_op* op, int from, uint64_t from_offset, int to,
                         uint64_t to_offset, size_t length, weir_done* done, void* user) {
  const auto what =
      between(weir::opcode::copy_file_range, from, from_offset, to, to_offset, length, 0);
  return start(context, op, what, done, user);
}

// --- files ---------------------------------------------------------------------------------------

int weir_fsync(weir_context* context, weir_op* op, int fd, weir_done* done, void* user) {
  return start(context, op, {.op = weir::opcode::fsync, .fd = fd}, done, user);
}

int weir_fdatasync(weir_context* context, weir_op* op, int fd, weir_done* done, void* user) {
  return start(context, op, {.op = weir::opcode::fdatasync, .fd = fd}, done, user);
}

int weir_sync_file_range(weir_context* context, weir_op* op, int fd, uint64_t offset,
                         uint64_t length, uint32_t flags, weir_done* done, void* user) {
  const auto what = transfer(weir::opcode::sync_file_range, fd, nullptr, length, offset, flags);
  return start(context, op, what, done, user);
}

int weir_ftruncate(weir_context* context, weir_op* op, int fd, uint64_t size, weir_done* done,
                   void* user) {
  return start(context, op, {.op = weir::opcode::ftruncate, .fd = fd, .offset = size}, done, user);
}

int weir_fallocate(weir_context* context, weir_op* op, int fd, uint32_t mode, uint64_t offset,
                   uint64_t length, weir_done* done, void* user) {
  auto what = transfer(weir::opcode::fallocate, fd, nullptr, length, offset, 0);
  what.mode = mode;
  return start(context, op, what, done, user);
}

int weir_fadvise(weir_context* context, weir_op* op, int fd, uint64_t offset, uint64_t length,
                 int advice, weir_done* done, void* user) {
  const auto what = transfer(weir::opcode::fadvise, fd, nullptr, length, offset,
                             static_cast<std::uint32_t>(advice));
  return start(context, op, what, done, user);
}

int weir_madvise(weir_context* context, weir_op* op, void* memory, size_t length, int advice,
                 weir_done* done, void* user) {
  const auto what =
      transfer(weir::opcode::madvise, -1, memory, length, 0, static_cast<std::uint32_t>(advice));
  return start(context, op, what, done, user);
}

int weir_fgetxattr(weir_context* context, weir_op* op, int fd, const char* name, void* value,
                   size_t size, weir_done* done, void* user) {
  const auto what = transfer(weir::opcode::fgetxattr, fd, value, size, number(name), 0);
  return start(context, op, what, done, user);
}

int weir_fsetxattr(weir_context* context, weir_op* op, int fd, const char* name, const void* value,
                   size_t size, uint32_t flags, weir_done* done, void* user) {
  const auto what = transfer(weir::opcode::fsetxattr, fd, value, size, number(name), flags);
  return start(context, op, what, done, user);
}

int weir_close(weir_context* context, weir_op* op, int fd, weir_done* done, void* user) {
  return start(context, op, {.op = weir::opcode::close, .fd = fd}, done, user);
}

// --- names ---------------------------------------------------------------------------------------

int weir_openat(weir_context* context, weir_op* op, int directory, const char* path, int flags,
                mode_t mode, weir_done* done, void* user) {
  auto what = of_path(weir::opcode::openat, directory, path, static_cast<std::uint32_t>(flags));
  // With O_CREAT only: some kernels' io_uring refuses a mode without it.
  if ((flags & (O_CREAT | __O_TMPFILE)) != 0) what.mode = mode;
  return start(context, op, what, done, user);
}

int weir_openat2(weir_context* context, weir_op* op, int directory, const char* path,
                 const open_how* how, size_t how_size, weir_done* done, void* user) {
  auto what = of_path(weir::opcode::openat2, directory, path);
  what.offset = number(how);
  what.length = how_size;
  return start(context, op, what, done, user);
}

int weir_statx(weir_context* context, weir_op* op, int directory, const char* path, int flags,
               uint32_t mask, struct statx* into, weir_done* done, void* user) {
  auto what = of_path(weir::opcode::statx, directory, path, static_cast<std::uint32_t>(flags));
  what.mode = mask;
  what.offset = number(into);
  return start(context, op, what, done, user);
}

int weir_renameat(weir_context* context, weir_op* op, int from_directory, const char* from,
                  int to_directory, const char* to, uint32_t flags, weir_done* done, void* user) {
  auto what = of_path(weir::opcode::renameat, from_directory, from, flags);
  what.mode = static_cast<std::uint32_t>(to_directory);
  what.offset = number(to);
  return start(context, op, what, done, user);
}

int weir_unlinkat(weir_context* context, weir_op* op, int directory, const char* path, int flags,
                  weir_done* done, void* user) {
  const auto what =
      of_path(weir::opcode::unlinkat, directory, path, static_cast<std::uint32_t>(flags));
  return start(context, op, what, done, user);
}

int weir_mkdirat(weir_context* context, weir_op* op, int directory, const char* path, mode_t mode,
                 weir_done* done, void* user) {
  auto what = of_path(weir::opcode::mkdirat, directory, path);
  what.mode = mode;
  return start(context, op, what, done, user);
}

int weir_linkat(weir_context* context, weir_op* op, int from_directory, const char* from,
                int to_directory, const char* to, int flags, weir_done* done, void* user) {
  auto what =
      of_path(weir::opcode::linkat, from_directory, from, static_cast<std::uint32_t>(flags));
  what.mode = static_cast<std::uint32_t>(to_directory);
  what.offset = number(to);
  return start(context, op, what, done, user);
}

int weir_symlinkat(weir_context* context, weir_op* op, const char* target, int directory,
                   const char* path, weir_done* done, void* user) {
  auto what = of_path(weir::opcode::symlinkat, -1, target);
  what.mode = static_cast<std::uint32_t>(directory);
  what.offset = number(path);
  return start(context, op, what, done, user);
}

int weir_getdents(weir_context* context, weir_op* op, int fd, void* entries, size_t size,
                  weir_done* done, void* user) {
  const auto what = transfer(weir::opcode::getdents, fd, entries, size, 0, 0);
  return start(context, op, what, done, user);
}

// --- waiting and cancelling ----------------------------------------------------------------------

int weir_poll(weir_context* context, weir_op* op, int fd, uint32_t events, weir_done* done,
              void* user) {
  return start(context, op, {.op = weir::opcode::poll, .fd = fd, .flags = events}, done, user);
}

int weir_sleep(weir_context* context, weir_op* op, uint64_t nanoseconds, weir_done* done,
               void* user) {
  constexpr std::uint64_t most = INT64_MAX;
  const std::chrono::nanoseconds duration(static_cast<std::int64_t>(std::min(nanoseconds, most)));
  if (context == nullptr) return -EINVAL;
  return start(context, op, weir::detail::timeout_request(cpp(context), duration), done, user);
}

int weir_nop(weir_context* context, weir_op* op, weir_done* done, void* user) {
  return start(context, op, {.op = weir::opcode::nop}, done, user);
}

int weir_cancel(weir_context* context, weir_op* op, weir_op* target, weir_done* done, void* user) {
  if (target == nullptr || target == op) return -EINVAL;
  c_operation* inside = operation_in(target);
  if (inside == nullptr) return -ENOENT;  // never started
  return start(context, op, weir::cancel_request(*inside), done, user);
}

int weir_cancel_fd(weir_context* context, weir_op* op, int fd, weir_done* done, void* user) {
  if (fd < 0) return -EBADF;
  return start(context, op, weir::cancel_request_for(fd), done, user);
}

int weir_cancel_all(weir_context* context, weir_op* op, weir_done* done, void* user) {
  return start(context, op, weir::cancel_request_for_all(), done, user);
}
