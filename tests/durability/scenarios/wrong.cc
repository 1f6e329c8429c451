// What goes wrong in practice. Each promises a file that a crash may take away.

#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

#include "durability/contents.hpp"
#include "durability/scenarios/scenarios.hpp"
#include "weir/commit.hpp"
#include "weir/file_system.hpp"

namespace weir::scenarios {
namespace {

// A new name each time: ext4 and XFS take care, unasked, of files that are renamed over others
// (auto_da_alloc in ext4(5)), and would hide the mistake.
std::string name_of(unsigned number) { return "file" + std::to_string(number); }

std::string path_of(const surroundings& where, unsigned number) {
  return where.directory + '/' + name_of(number);
}

task<result<void>> write_file(const surroundings& where, std::string path, unsigned number,
                              bool synced) {
  result<file> made = co_await open(where.context, path, {.write = true, .create = true});
  if (!made) co_return std::unexpected(made.error());
  const auto bytes = make_version(where.seed, name_of(number), 1, 5000);
  const durability how = synced ? durability::full : durability::none;
  const transfer_result written = co_await commit(*made, bytes, 0, how);
  const result<void> closed = co_await made->close();
  if (!written) co_return std::unexpected(written.error());
  co_return closed;
}

template <bool data_is_synced, bool directory_is_synced>
task<result<void>> run(const surroundings& where, promises& told) {
  for (unsigned number = 0; number < where.rounds; ++number) {
    const std::string temporary = where.directory + "/temporary";
    result<void> done = co_await write_file(where, temporary, number, data_is_synced);
    if (done) done = co_await rename(where.context, temporary, path_of(where, number));
    if (done && directory_is_synced) {
      done = co_await sync_directory(where.context, where.directory);
    }
    if (!done) co_return done;
    told.promise(name_of(number), 1, survives::power_loss);
  }
  co_return result<void>{};
}

task<violations> check(const surroundings& where, const promise_book& kept) {
  violations wrong;
  for (unsigned number = 0; number < where.rounds; ++number) {
    if (kept.version_of(name_of(number)) == 0) continue;
    const auto found = co_await contents_of(where.context, path_of(where, number));
    if (!found) {
      wrong.push_back(failure("read", path_of(where, number), found.error()));
    } else if (!version_in(*found, where.seed, name_of(number))) {
      wrong.push_back(name_of(number) + " is torn: " + std::to_string(found->size()) + " bytes");
    }
  }
  co_return wrong;
}

// --- a record that no barrier follows ------------------------------------------------------------

constexpr std::string_view log_name = "log";
constexpr std::size_t record_size = 4096;

task<result<void>> append_records(const surroundings& where, promises& told) {
  result<file> log =
      co_await create_durably(where.context, where.directory + '/' + std::string(log_name));
  if (!log) co_return std::unexpected(log.error());
  std::vector<std::byte> record(record_size);
  for (unsigned number = 0; number < where.rounds; ++number) {
    const std::uint64_t offset = std::uint64_t{number} * record_size;
    fill(record, where.seed, log_name, offset);
    const transfer_result done = co_await commit(*log, record, offset, durability::none);
    if (!done) co_return std::unexpected(done.error());
    told.promise(log_name, offset + record_size, survives::power_loss);
  }
  co_return co_await log->close();
}

task<violations> check_records(const surroundings& where, const promise_book& kept) {
  const std::uint64_t promised = kept.version_of(log_name);
  if (promised == 0) co_return violations{};
  const std::string path = where.directory + '/' + std::string(log_name);
  const auto found = co_await contents_of(where.context, path);
  if (!found) co_return violations{failure("read", path, found.error())};
  const bool there = found->size() >= promised &&
                     is_filled(std::span(*found).first(promised), where.seed, log_name);
  if (there) co_return violations{};
  co_return violations{"of " + std::to_string(promised) + " bytes some are missing"};
}

}  // namespace

scenario wrong_without_directory_sync() {
  return {.name = "no directory sync", .run = &run<true, false>, .check = &check};
}

scenario wrong_without_data_sync() {
  return {.name = "no data sync", .run = &run<false, true>, .check = &check};
}

scenario wrong_without_barrier() {
  return {.name = "no barrier", .run = &append_records, .check = &check_records};
}

}  // namespace weir::scenarios
