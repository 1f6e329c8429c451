// Blocks of two files, one of them opened O_DIRECT where that is to be had, each written in one of
// the ways that make it durable.

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <utility>

#include "durability/contents.hpp"
#include "durability/scenarios/scenarios.hpp"
#include "weir/commit.hpp"

namespace weir::scenarios {
namespace {

constexpr std::size_t block_size = 8192;

enum class way : std::uint8_t {
  with_data,        ///< RWF_DSYNC
  with_everything,  ///< RWF_SYNC
  leaving_no_pages,
  then_datasync,
  then_sync,
  not_durable,
};
constexpr std::uint64_t ways = 6;

constexpr std::string_view file_names[] = {"buffered", "direct"};

std::string block_name(std::string_view file, unsigned number) {
  return std::string(file) + '/' + std::to_string(number);
}

io_options options_of(way chosen) {
  switch (chosen) {
    case way::with_data:
      return {.sync = durability::data};
    case way::with_everything:
      return {.sync = durability::full};
    case way::leaving_no_pages:
      return {.sync = durability::data, .drop_cache = true};
    default:
      return {};
  }
}

task<std::error_code> sync_as(file& written, way chosen) {
  result<void> synced;
  if (chosen == way::then_datasync) synced = co_await written.datasync();
  if (chosen == way::then_sync) synced = co_await written.sync();
  co_return synced ? std::error_code{} : synced.error();
}

task<result<file>> create(const surroundings& where, std::string_view name) {
  const std::string path = where.directory + '/' + std::string(name);
  open_options options{.write = true, .direct = name == "direct"};
  result<file> created = co_await create_durably(where.context, path, options);
  if (created || !options.direct || created.error().value() != EINVAL) co_return created;
  // Where O_DIRECT is refused the file has been made all the same.
  options.direct = false;
  options.create = true;
  created = co_await open(where.context, path, options);
  if (!created) co_return created;
  const result<void> synced = co_await sync_directory(where.context, where.directory);
  if (!synced) co_return std::unexpected(synced.error());
  co_return created;
}

task<std::error_code> write_blocks(const surroundings& where, promises& told,
                                   std::string_view name) {
  result<file> target = co_await create(where, name);
  if (!target) co_return target.error();
  buffer memory(block_size);
  for (unsigned number = 0; number < 2 * where.rounds; ++number) {
    const std::string block = block_name(name, number);
    const auto chosen = static_cast<way>(drawn(where.seed, block) % ways);
    fill(memory.span(), where.seed, block);
    const transfer_result written = co_await target->write_all_at(
        memory.span(), std::uint64_t{number} * block_size, options_of(chosen));
    if (!written) co_return written.error();
    const std::error_code unsynced = co_await sync_as(*target, chosen);
    if (unsynced) co_return unsynced;
    const bool durable = chosen != way::not_durable;
    told.promise(block, 1, durable ? survives::power_loss : survives::process_end);
  }
  const result<void> closed = co_await target->close();
  co_return closed ? std::error_code{} : closed.error();
}

task<result<void>> run(const surroundings& where, promises& told) {
  auto [buffered, direct] = co_await when_all(write_blocks(where, told, file_names[0]),
                                              write_blocks(where, told, file_names[1]));
  if (buffered) co_return std::unexpected(buffered);
  if (direct) co_return std::unexpected(direct);
  co_return result<void>{};
}

bool any_promised(const surroundings& where, std::string_view name, const promise_book& kept) {
  for (unsigned number = 0; number < 2 * where.rounds; ++number) {
    if (kept.version_of(block_name(name, number)) != 0) return true;
  }
  return false;
}

task<violations> check(const surroundings& where, const promise_book& kept) {
  violations wrong;
  for (const std::string_view name : file_names) {
    if (!any_promised(where, name, kept)) continue;
    const std::string path = where.directory + '/' + std::string(name);
    const auto found = co_await contents_of(where.context, path);
    if (!found) wrong.push_back(failure("read", path, found.error()));
    if (!found) continue;
    for (unsigned number = 0; number < 2 * where.rounds; ++number) {
      const std::string block = block_name(name, number);
      if (kept.version_of(block) == 0) continue;
      const std::size_t offset = number * block_size;
      const bool there =
          found->size() >= offset + block_size &&
          is_filled(std::span(*found).subspan(offset, block_size), where.seed, block);
      if (!there) wrong.push_back("block " + block + " is not what was written");
    }
  }
  co_return wrong;
}

}  // namespace

scenario policies() { return {.name = "policies", .run = &run, .check = &check}; }

}  // namespace weir::scenarios
