// Three files in a new directory are replaced again and again, each by a coroutine of its own.

#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

#include "durability/contents.hpp"
#include "durability/scenarios/scenarios.hpp"
#include "weir/commit.hpp"

namespace weir::scenarios {
namespace {

constexpr std::array<std::string_view, 3> file_names{"first", "second", "third"};

std::string directory_of(const surroundings& where) { return where.directory + "/replaced"; }

// Mostly small, now and then several blocks.
std::size_t size_of(const surroundings& where, std::string_view name, unsigned version) {
  const std::uint64_t choice = drawn(where.seed, name, version);
  return choice % 4 == 0 ? choice / 4 % 60000 : choice / 4 % 700;
}

task<std::error_code> replace_again_and_again(const surroundings& where, promises& told,
                                              std::string_view name) {
  const std::string path = directory_of(where) + '/' + std::string(name);
  for (unsigned version = 1; version <= where.rounds; ++version) {
    const auto bytes = make_version(where.seed, name, version, size_of(where, name, version));
    const replace_result done = co_await replace_file(where.context, path, bytes);
    if (!done) co_return done.error();
    told.promise(name, version, survives::power_loss);
  }
  co_return std::error_code{};
}

task<result<void>> run(const surroundings& where, promises& told) {
  const result<void> made = co_await make_directory(where.context, directory_of(where));
  if (!made) co_return made;
  const result<void> synced = co_await sync_directory(where.context, where.directory);
  if (!synced) co_return synced;
  std::vector<task<std::error_code>> all;
  for (const std::string_view name : file_names) {
    all.push_back(replace_again_and_again(where, told, name));
  }
  for (const std::error_code& each : co_await when_all(std::move(all))) {
    if (each) co_return std::unexpected(each);
  }
  co_return result<void>{};
}

// Also where nothing was promised there is a whole version, or none.
task<violations> check(const surroundings& where, const promise_book& kept) {
  violations wrong;
  for (const std::string_view name : file_names) {
    const std::uint64_t promised = kept.version_of(name);
    const std::string path = directory_of(where) + '/' + std::string(name);
    const auto found = co_await contents_of(where.context, path);
    if (!found && found.error().value() == ENOENT && promised == 0) continue;
    if (!found) {
      wrong.push_back(failure("read", path, found.error()));
      continue;
    }
    const std::optional<std::uint64_t> version = version_in(*found, where.seed, name);
    if (!version) {
      wrong.push_back(std::string(name) + " is torn: " + std::to_string(found->size()) +
                      " bytes that are no version");
    } else if (*version < promised) {
      wrong.push_back(std::string(name) + " is version " + std::to_string(*version) +
                      ", and version " + std::to_string(promised) + " was promised");
    }
  }
  co_return wrong;
}

}  // namespace

scenario replacing() { return {.name = "replace_file", .run = &run, .check = &check}; }

}  // namespace weir::scenarios
