#include <array>
#include <atomic>
#include <cerrno>
#include <utility>

#include "copier.hpp"
#include "durability/contents.hpp"
#include "durability/real/own_scenarios.hpp"
#include "weir/commit.hpp"

namespace weir::real_disks {
namespace {

using scenarios::promise_book;
using scenarios::promises;
using scenarios::surroundings;
using scenarios::survives;
using scenarios::violations;

struct copied_file {
  std::string_view name;
  std::size_t size;
};

// The large one takes several blocks of the copier's.
constexpr std::array files{copied_file{"small", 3000}, copied_file{"large", 700000}};

std::string path_of(const surroundings& where, std::string_view directory, std::string_view name) {
  return where.directory + '/' + std::string(directory) + '/' + std::string(name);
}

task<result<void>> make_source(const surroundings& where, const copied_file& which,
                               std::uint64_t version) {
  const auto bytes = scenarios::make_version(where.seed, which.name, version, which.size);
  const open_options options{.write = true, .create = true, .truncate = true};
  result<file> made = co_await open(where.context, path_of(where, "source", which.name), options);
  if (!made) co_return std::unexpected(made.error());
  const transfer_result written = co_await made->write_all_at(bytes, 0);
  const result<void> closed = co_await made->close();
  if (!written) co_return std::unexpected(written.error());
  co_return closed;
}

// On a context of its own, which it drives to the end.
bool copy_all(const surroundings& where, bool drops_cache) {
  io_context context(where.another_driver());
  tools::progress shown;
  tools::failures failed([] {});
  std::vector<std::string> sources;
  for (const copied_file& each : files) {
    sources.push_back(path_of(where, "source", each.name));
  }
  tools::copy_plan plan(std::move(sources), where.directory + "/copied", false, failed);
  const std::atomic<bool> interrupted = false;
  const tools::copy_options options{.drop_cache = drops_cache};
  tools::copier copier(context, options, plan, shown, failed, interrupted);
  copier.run();
  return !failed.any();
}

template <bool drops_cache>
task<result<void>> run(const surroundings& where, promises& told) {
  for (const std::string_view name : {"/source", "/copied"}) {
    const result<void> made =
        co_await make_directory(where.context, where.directory + std::string(name));
    if (!made) co_return made;
  }
  for (std::uint64_t version = 1; version <= where.rounds; ++version) {
    for (const copied_file& each : files) {
      const result<void> made = co_await make_source(where, each, version);
      if (!made) co_return made;
    }
    if (!copy_all(where, drops_cache)) {
      co_return std::unexpected(std::make_error_code(std::errc::io_error));
    }
    for (const copied_file& each : files) {
      told.promise(each.name, version, survives::process_end);
    }
  }
  // Without a promise there would be nothing that a power loss could break; a sync gives one.
  const result<void> synced = co_await sync_directory(where.context, where.directory + "/copied");
  if (synced && drops_cache) {
    for (const copied_file& each : files) {
      told.promise(each.name, where.rounds, survives::power_loss);
    }
  }
  co_return synced;
}

task<violations> check(const surroundings& where, const promise_book& kept) {
  violations wrong;
  for (const copied_file& each : files) {
    const std::uint64_t promised = kept.version_of(each.name);
    const std::string path = path_of(where, "copied", each.name);
    const auto found = co_await scenarios::contents_of(where.context, path);
    if (!found && found.error().value() == ENOENT && promised == 0) continue;
    if (!found) {
      wrong.push_back(scenarios::failure("read", path, found.error()));
      continue;
    }
    const auto version = scenarios::version_in(*found, where.seed, each.name);
    if (!version) {
      wrong.push_back(std::string(each.name) + " is half a file, of " +
                      std::to_string(found->size()) + " bytes");
    } else if (*version < promised) {
      wrong.push_back(std::string(each.name) + " is version " + std::to_string(*version) +
                      ", and version " + std::to_string(promised) + " had been copied");
    }
  }
  co_return wrong;
}

}  // namespace

scenarios::scenario copying() {
  return {.name = "weir cp", .run = &run<false>, .check = &check, .has_threads = true};
}

scenarios::scenario copying_and_dropping() {
  return {.name = "weir cp --drop-cache", .run = &run<true>, .check = &check, .has_threads = true};
}

}  // namespace weir::real_disks
