#pragma once

#include <cstdint>
#include <deque>
#include <expected>
#include <span>
#include <string>
#include <vector>

#include "simulated/faults.hpp"
#include "simulated/file_tree.hpp"
#include "simulated/trace.hpp"
#include "weir/request.hpp"

struct iovec;

namespace weir::detail::simulated {

/// What a descriptor stands for.
struct open_file {
  inode* file = nullptr;  // null: the descriptor is not in use
  std::uint32_t flags = 0;
  std::uint64_t position = 0;  // for what has no offset of its own
  unsigned entries_read = 0;   // of a directory: "." and ".."
  std::string last_entry;
};

/// The file system: carries one operation out, whole and at once, and answers it as Linux would.
/// What it changes waits, page by page and name by name, to become durable.
class file_system {
 public:
  file_system(const simulated_options& options, const std::int64_t& now_ns);
  /// Of what is on another's disk, or of all of it; without its descriptors.
  file_system(const file_system& other, const simulated_options& options,
              const std::int64_t& now_ns);

  /// `number` is the operation's; 0 for what is done without having been taken.
  std::int32_t carry_out(const request& what, std::uint64_t number, std::uint32_t client);

  /// Remembers a fault.
  void meet(const simulated_fault_at& fault, const inode* of = nullptr, std::string names = {});

  /// What is carried out from now on is cut short: whether it still makes anything durable is
  /// drawn.
  void power_fails_now() noexcept { power_fails_ = true; }
  /// Decides what is left of all that waits; then only that is there.
  void lose_power();
  /// Becomes what is on the disk.
  void restart();

  fate& faults() noexcept { return fate_; }
  trace& events() noexcept { return trace_; }
  const trace& events() const noexcept { return trace_; }
  const fate& faults() const noexcept { return fate_; }

 private:
  /// The operation that is being carried out.
  struct current {
    std::uint64_t number = 0;
    std::uint32_t parts = 0;  // how many changes it has made
    inode* file = nullptr;    // for the trace
    std::string names;
  };
  using resolved = std::expected<place, std::int32_t>;

  std::int32_t begin(const request& what);
  std::int32_t dispatch(const request& what);
  std::int32_t dispatch_on_file(const request& what);
  bool befalls(simulated_fault what) const noexcept { return fate_.befalls(what, now_.number); }

  // Descriptors.
  open_file* descriptor(std::int32_t fd) noexcept;
  std::int32_t install(inode& file, std::uint32_t flags);
  std::int32_t close(std::int32_t fd) noexcept;
  void let_go(inode& file) noexcept;

  // Names: naming.cc.
  resolved resolve(std::int32_t fd, const char* path, how_to_resolve how);
  std::int32_t open(const request& what);
  std::int32_t open_how(const request& what);
  std::int32_t open_path(const request& what, std::uint32_t flags, std::uint32_t mode,
                         how_to_resolve how);
  std::int32_t create_nameless(const request& what, std::uint32_t flags, std::uint32_t mode,
                               how_to_resolve how);
  std::int32_t open_found(inode& file, std::uint32_t flags);
  std::int32_t create(const place& at, std::uint32_t flags, std::uint32_t mode);
  std::int32_t rename(const request& what);
  std::int32_t exchange(const place& from, const place& to);
  std::int32_t unlink(const request& what);
  std::int32_t make_directory(const request& what);
  std::int32_t link(const request& what);
  std::int32_t make_symlink(const request& what);
  void change_names(std::vector<name_step> steps);

  // What is known of a file: status.cc.
  std::int32_t status(const request& what);
  std::int32_t read_directory(const request& what, open_file& opened);
  std::int32_t get_attribute(const request& what, const inode& file);
  std::int32_t set_attribute(const request& what, inode& file);

  // Bytes: transfers.cc.
  std::int32_t transfer(const request& what, open_file& opened);
  std::int32_t read(const request& what, inode& file, std::span<const iovec> into,
                    std::uint64_t length);
  std::int32_t write(const request& what, open_file& opened, std::span<const iovec> from,
                     std::uint64_t length);
  std::uint64_t shortened(const request& what, std::uint64_t length);
  std::uint64_t readable(inode& file, std::uint64_t offset, std::uint64_t length);
  void rot(inode& file, std::uint64_t offset, std::uint64_t length);
  std::byte* page_to_write(inode& file, std::uint64_t number, bool overwritten);
  void note_page(inode& file, std::uint64_t at, std::uint64_t length, bool grows = true);
  void note(inode& file, change done);
  std::int32_t copy(const request& what);
  std::int32_t copy_bytes(inode& from, std::uint64_t begin, open_file& to, std::uint64_t into,
                          std::uint64_t length);

  // Room: space.cc.
  std::uint64_t room() const noexcept;  // in pages
  std::int32_t no_room() const noexcept;
  std::int32_t truncate(const request& what, const open_file& opened);
  void set_size(inode& file, std::uint64_t size);
  std::int32_t allocate(const request& what, const open_file& opened);
  bool reserve(inode& file, std::uint64_t offset, std::uint64_t length);
  std::int32_t make_zero(inode& file, std::uint64_t offset, std::uint64_t length, bool keeps_room);

  // Becoming durable, and not: durability.cc.
  std::int32_t sync(inode& file);
  void persist_oldest(inode& file, std::size_t count);
  void write_back(inode& file, const change& done);
  void misdirect(inode& file, const change& done);
  void write_back_in_passing();
  void write_back_oldest();
  void forget_waiting(inode& file) noexcept;
  std::uint64_t draw_cut();
  bool is_lost(std::uint64_t operation, std::uint32_t part, std::uint64_t sequence) const noexcept;
  bool is_torn(const change& done) const noexcept;
  void lose_changes(inode& file);
  void persist_torn(inode& file, const change& done);

  simulated_options options_;
  const std::int64_t& clock_ns_;
  fate fate_;
  trace trace_;
  file_tree tree_;
  std::vector<open_file> descriptors_;
  std::uint64_t used_pages_ = 0;
  std::uint64_t waiting_pages_ = 0;
  std::uint64_t sequence_ = 0;      // of changes
  std::deque<inode_number> dirty_;  // files of which something waits, oldest first
  current now_;
  bool power_fails_ = false;
  std::uint64_t power_failures_ = 0;
  std::uint64_t cut_ = UINT64_MAX;  // of `sequence`: from here on all is lost
  double loss_rate_ = 0;
};

}  // namespace weir::detail::simulated
