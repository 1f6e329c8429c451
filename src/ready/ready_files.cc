// The table's calls: each finds its slot, which does the rest.

#include <fcntl.h>

#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

#include "../file_state.hpp"
#include "table.hpp"
#include "weir/ready_file.hpp"

namespace weir {
namespace {

std::unique_ptr<driver> opened_or_thrown(const driver_options& with) {
  auto opened = open_driver(with);
  if (!opened) throw std::system_error(opened.error(), "no driver for ready files");
  return std::move(*opened);
}

/// What `call` answers for the handle's slot.
template <class Call>
auto with_slot(const ready_files::table& table, int handle, Call call) noexcept
    -> decltype(call(std::declval<detail::ready_slot&>())) {
  detail::ready_slot* const slot = table.at(handle);
  if (slot == nullptr) return std::unexpected(detail::errno_code(EBADF));
  return call(*slot);
}

}  // namespace

ready_files::ready_files(const ready_options& options, const driver_options& with)
    : ready_files(options, opened_or_thrown(with)) {}

ready_files::ready_files(const ready_options& options, std::unique_ptr<driver> with)
    : table_(std::make_unique<table>(options, std::move(with))) {}

ready_files::~ready_files() = default;

result<std::unique_ptr<ready_files>> ready_files::make(const ready_options& options,
                                                       const driver_options& with) noexcept {
  try {
    return std::make_unique<ready_files>(options, with);
  } catch (const std::system_error& refused) {
    return std::unexpected(refused.code());
  } catch (const std::bad_alloc&) {
    return std::unexpected(detail::errno_code(ENOMEM));
  }
}

result<int> ready_files::open(std::string_view path, const open_options& options) noexcept {
  if (!options.read && !options.write) return std::unexpected(detail::errno_code(EINVAL));
  return table_->open(path, {.flags = detail::flags_of(options),
                             .mode = options.create ? options.mode : 0,
                             .resolve = options.resolve,
                             .directory = options.directory});
}

result<int> ready_files::open(std::string_view path, int flags, std::uint32_t mode) noexcept {
  const bool creates = (flags & (O_CREAT | __O_TMPFILE)) != 0;
  return table_->open(path, {.flags = static_cast<std::uint32_t>(flags),
                             .mode = creates ? mode : 0,
                             .directory = AT_FDCWD});
}

result<ready_status> ready_files::status(int handle) noexcept {
  return with_slot(*table_, handle, [](auto& slot) { return slot.status(); });
}

result<std::size_t> ready_files::try_read(int handle, std::span<std::byte> memory) noexcept {
  return with_slot(*table_, handle, [&](auto& slot) { return slot.try_read(memory); });
}

result<std::size_t> ready_files::try_write(int handle, std::span<const std::byte> bytes) noexcept {
  return with_slot(*table_, handle, [&](auto& slot) { return slot.try_write(bytes); });
}

result<unsigned> ready_files::poll(int handle) noexcept {
  return with_slot(*table_, handle, [](auto& slot) { return slot.poll(); });
}

result<void> ready_files::seek_read(int handle, std::uint64_t position) noexcept {
  return with_slot(*table_, handle, [&](auto& slot) { return slot.seek_read(position); });
}

result<void> ready_files::seek_write(int handle, std::uint64_t position) noexcept {
  return with_slot(*table_, handle, [&](auto& slot) { return slot.seek_write(position); });
}

result<void> ready_files::sync(int handle, durability how) noexcept {
  return with_slot(*table_, handle, [&](auto& slot) { return slot.sync(how); });
}

result<void> ready_files::close(int handle) noexcept {
  return with_slot(*table_, handle, [](auto& slot) { return slot.close(); });
}

void ready_files::abandon(int handle) noexcept {
  if (detail::ready_slot* const slot = table_->at(handle); slot != nullptr) slot->abandon();
}

result<void> ready_files::close_and_wait(int handle) noexcept {
  return with_slot(*table_, handle, [](auto& slot) { return slot.close_and_wait(); });
}

int ready_files::fd() const noexcept { return table_->queue().fd(); }

std::optional<ready_event> ready_files::next() noexcept { return table_->queue().next(); }

void ready_files::on_event(callback tell, void* user) noexcept { table_->call(tell, user); }

}  // namespace weir
