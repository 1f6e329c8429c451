// The C interface to ready files. Nothing but conversions; what is done is done by ready_files.

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <system_error>

#include "conversions.hpp"
#include "weir/ready_file.hpp"
#include "weir/weir.h"

using weir::detail::driver_options_of;
using weir::detail::errno_kept;
using weir::detail::errno_of;
using weir::detail::read_options;
using weir::detail::without_exceptions;

/// The table, and whom its events are told.
struct weir_files {
  weir_files(const weir::ready_options& options, const weir::driver_options& with)
      : table(options, with) {}

  weir_on_event* tell = nullptr;
  void* user = nullptr;
  weir::ready_files table;  // last: until it is gone, events are told
};

namespace {

static_assert(WEIR_READABLE == weir::ready::readable && WEIR_WRITABLE == weir::ready::writable &&
              WEIR_OPENED == weir::ready::opened && WEIR_SYNCED == weir::ready::synced &&
              WEIR_CLOSED == weir::ready::closed);

template <class Number>
void replace(Number& with_default, Number wanted) noexcept {
  if (wanted != 0) with_default = wanted;
}

weir::ready_options ready_options_of(const weir_files_options& known) noexcept {
  static_assert(weir::ready_options::unbounded == SIZE_MAX);
  weir::ready_options options;
  replace(options.files, known.files);
  replace(options.read_ahead, known.read_ahead);
  replace(options.write_behind, known.write_behind);
  replace(options.block_size, known.block_size);
  if (known.flush_after_ms != 0) {
    options.flush_after = std::chrono::milliseconds(known.flush_after_ms);
  }
  return options;
}

weir_event event_of(const weir::ready_event& event) noexcept {
  return {.handle = event.handle, .what = event.what, .result = errno_of(event.error)};
}

void tell_event(void* of, const weir::ready_event& event) noexcept {
  const auto& files = *static_cast<const weir_files*>(of);
  const weir_event told = event_of(event);
  files.tell(&told, files.user);
}

int answer_of(const weir::result<void>& outcome) noexcept {
  return outcome ? 0 : errno_of(outcome.error());
}

std::int64_t answer_of(const weir::result<std::size_t>& count) noexcept {
  return count ? static_cast<std::int64_t>(*count) : errno_of(count.error());
}

int answer_of(const weir::result<weir::ready_status>& status) noexcept {
  if (!status) return errno_of(status.error());
  if (*status == weir::ready_status::open) return 0;
  return *status == weir::ready_status::opening ? -EAGAIN : -EINPROGRESS;
}

std::optional<weir::durability> durability_of(unsigned how) noexcept {
  switch (how) {
    case WEIR_SYNC_DATA:
      return weir::durability::data;
    case WEIR_SYNC_FULL:
      return weir::durability::full;
    case WEIR_SYNC_NONE:
      return weir::durability::none;
    default:
      return std::nullopt;
  }
}

}  // namespace

// --- the table -----------------------------------------------------------------------------------

int weir_files_create(weir_files** files, const weir_files_options* options) {
  if (files == nullptr) return -EINVAL;
  return without_exceptions([&]() -> int {
    weir_files_options known;
    if (const int error = read_options(options, known); error < 0) return error;
    if (known.reserved != 0) return -E2BIG;
    *files =
        std::make_unique<weir_files>(ready_options_of(known), driver_options_of(known)).release();
    return 0;
  });
}

void weir_files_destroy(weir_files* files) {
  const errno_kept kept;
  delete files;
}

int weir_files_fd(weir_files* files) { return files == nullptr ? -EINVAL : files->table.fd(); }

int weir_files_next(weir_files* files, weir_event* event) {
  if (files == nullptr || event == nullptr) return -EINVAL;
  const errno_kept kept;
  const auto next = files->table.next();
  if (!next) return 0;
  *event = event_of(*next);
  return 1;
}

int weir_files_on_event(weir_files* files, weir_on_event* tell, void* user) {
  if (files == nullptr) return -EINVAL;
  const errno_kept kept;
  files->table.on_event(nullptr, nullptr);  // from here on nobody looks at the two
  files->tell = tell;
  files->user = user;
  if (tell != nullptr) files->table.on_event(&tell_event, files);
  return 0;
}

// --- a file --------------------------------------------------------------------------------------

int weir_file_open(weir_files* files, const char* path, int flags, mode_t mode) {
  if (files == nullptr || path == nullptr) return -EINVAL;
  const errno_kept kept;
  const auto handle = files->table.open(path, flags, mode);
  return handle ? *handle : errno_of(handle.error());
}

int weir_file_status(weir_files* files, int handle) {
  if (files == nullptr) return -EINVAL;
  return answer_of(files->table.status(handle));
}

int64_t weir_file_read(weir_files* files, int handle, void* memory, size_t size) {
  if (files == nullptr || (memory == nullptr && size != 0)) return -EINVAL;
  const errno_kept kept;
  return answer_of(files->table.try_read(handle, {static_cast<std::byte*>(memory), size}));
}

int64_t weir_file_write(weir_files* files, int handle, const void* memory, size_t size) {
  if (files == nullptr || (memory == nullptr && size != 0)) return -EINVAL;
  const errno_kept kept;
  return answer_of(files->table.try_write(handle, {static_cast<const std::byte*>(memory), size}));
}

int weir_file_poll(weir_files* files, int handle) {
  if (files == nullptr) return -EINVAL;
  const auto ready = files->table.poll(handle);
  return ready ? static_cast<int>(*ready) : errno_of(ready.error());
}

int weir_file_seek(weir_files* files, int handle, uint64_t position, unsigned which) {
  constexpr unsigned either = WEIR_READABLE | WEIR_WRITABLE;
  if (files == nullptr || which == 0 || (which & ~either) != 0) return -EINVAL;
  const errno_kept kept;
  weir::result<void> outcome;
  if ((which & WEIR_READABLE) != 0) outcome = files->table.seek_read(handle, position);
  if (outcome && (which & WEIR_WRITABLE) != 0) outcome = files->table.seek_write(handle, position);
  return answer_of(outcome);
}

int weir_file_sync(weir_files* files, int handle, unsigned how) {
  const auto durably = durability_of(how);
  if (files == nullptr || !durably) return -EINVAL;
  const errno_kept kept;
  return answer_of(files->table.sync(handle, *durably));
}

int weir_file_close(weir_files* files, int handle) {
  if (files == nullptr) return -EINVAL;
  const errno_kept kept;
  return answer_of(files->table.close(handle));
}

int weir_file_close_and_wait(weir_files* files, int handle) {
  if (files == nullptr) return -EINVAL;
  const errno_kept kept;
  return answer_of(files->table.close_and_wait(handle));
}
