#pragma once

#include <cstdint>
#include <span>

#include "daemon/server/carrying_out.hpp"
#include "weir/task.hpp"

namespace weir::detail::daemon {

/// A file that an order writes to: opened, locked where asked, and written to from front to back.
class written_file {
 public:
  written_file(transfer& self, const order& what) noexcept
      : self_(self), what_(what), offset_(what.asked.offset) {}

  /// Opens and locks it, and tells the client of it.
  task<int> open();
  /// Writes all of it behind what was written before. The file is emptied, where that was asked
  /// for, before the first bytes are: who asks and then sends nothing has destroyed nothing.
  task<int> append(std::span<const std::byte> bytes);
  /// Once nothing more comes: emptied after all, where nothing came; and durable, where asked.
  task<int> finish();
  /// Gives the file and its lock up.
  void close() noexcept { opened_.file.reset(); }

 private:
  task<int> empty_once();
  task<int> sync_name();
  bool asks_for(std::uint32_t flag) const noexcept { return (what_.asked.flags & flag) != 0; }

  transfer& self_;
  const order& what_;
  opened_file opened_;
  std::uint64_t offset_;
  bool emptied_ = false;
};

}  // namespace weir::detail::daemon
