#pragma once

#include "transfer/account.hpp"
#include "weir/transfer.hpp"

namespace weir::detail {

/// From file to file, as `copy_file` does it: see there. What is left in `account` is copied.
task<void> copy_between(file& from, file& to, copy_part part, const transfer_options& options,
                        transfer_account& account);

/// Makes what was written as durable as asked.
task<void> make_durable(file& written, durability how, transfer_account& account);

/// A file that is somebody else's descriptor: its own number for the same open file, closed with
/// it. And where that stands.
struct borrowed_file {
  file own;
  std::uint64_t position = 0;
};
/// Throws std::bad_alloc.
result<borrowed_file> borrow_file(io_context& context, int fd);
/// Leaves it where `position` says.
std::error_code seek(const file& of, std::uint64_t position) noexcept;

}  // namespace weir::detail
