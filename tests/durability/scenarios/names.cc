// Names in one directory. Each step changes them by one call, syncs the directory, and promises
// itself; so what is found is the outcome of the last step that was promised, or of a later one.

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <utility>

#include "durability/contents.hpp"
#include "durability/scenarios/scenarios.hpp"
#include "weir/commit.hpp"
#include "weir/file_system.hpp"

namespace weir::scenarios {
namespace {

constexpr std::string_view subject = "names";
constexpr std::array<std::string_view, 4> file_names{"a", "b", "c", "d"};

std::string directory_of(const surroundings& where) { return where.directory + "/names"; }

enum class change : std::uint8_t { create, rename, exchange, remove, link };

struct step {
  change what;
  std::string from;
  std::string to;
};

/// Which file each name leads to, by the number of the step that made it.
using tree = std::map<std::string, unsigned>;

bool is_possible(const step& next, const tree& before) {
  const bool from = before.contains(next.from);
  const bool to = before.contains(next.to);
  switch (next.what) {
    case change::create:
      return !to;
    case change::rename:
      return from && next.from != next.to && (!to || before.at(next.from) != before.at(next.to));
    case change::exchange:
      return from && to && before.at(next.from) != before.at(next.to);
    case change::remove:
      return to;
    case change::link:
      return from && !to;
  }
  return false;
}

// The first that is possible of those that are drawn; there is always one to create or to remove.
step draw_step(const surroundings& where, unsigned number, const tree& before) {
  for (std::uint64_t attempt = 0;; ++attempt) {
    const std::uint64_t choice = drawn(where.seed, "step " + std::to_string(number), attempt);
    const step next{.what = static_cast<change>(choice % 5),
                    .from = std::string(file_names.at(choice / 5 % file_names.size())),
                    .to = std::string(file_names.at(choice / 64 % file_names.size()))};
    if (is_possible(next, before)) return next;
  }
}

tree after(const step& done, unsigned number, tree names) {
  switch (done.what) {
    case change::create:
      names[done.to] = number;
      break;
    case change::rename:
      names[done.to] = names.at(done.from);
      names.erase(done.from);
      break;
    case change::exchange:
      std::swap(names.at(done.from), names.at(done.to));
      break;
    case change::remove:
      names.erase(done.to);
      break;
    case change::link:
      names[done.to] = names.at(done.from);
      break;
  }
  return names;
}

task<result<void>> create(const surroundings& where, std::string path, unsigned number) {
  result<file> made = co_await open(where.context, path, {.write = true, .create = true});
  if (!made) co_return std::unexpected(made.error());
  const auto bytes = make_version(where.seed, subject, number, smallest_version);
  const transfer_result written = co_await commit(*made, bytes, 0, durability::full);
  const result<void> closed = co_await made->close();
  if (!written) co_return std::unexpected(written.error());
  co_return closed;
}

task<result<void>> carry_out(const surroundings& where, const step& next, unsigned number) {
  const std::string from = directory_of(where) + '/' + next.from;
  const std::string to = directory_of(where) + '/' + next.to;
  switch (next.what) {
    case change::create:
      co_return co_await create(where, to, number);
    case change::rename:
      co_return co_await rename(where.context, from, to);
    case change::exchange:
      co_return co_await rename(where.context, from, to, {.mode = rename_mode::exchange});
    case change::remove:
      co_return co_await remove_file(where.context, to);
    case change::link:
      co_return co_await link(where.context, from, to);
  }
  co_return std::unexpected(std::make_error_code(std::errc::invalid_argument));
}

task<result<void>> run(const surroundings& where, promises& told) {
  const result<void> made = co_await make_directory(where.context, directory_of(where));
  if (!made) co_return made;
  const result<void> synced = co_await sync_directory(where.context, where.directory);
  if (!synced) co_return synced;
  tree names;
  for (unsigned number = 1; number <= 3 * where.rounds; ++number) {
    const step next = draw_step(where, number, names);
    const result<void> done = co_await carry_out(where, next, number);
    if (!done) co_return done;
    told.promise("visible names", number, survives::process_end);
    const result<void> durable = co_await sync_directory(where.context, directory_of(where));
    if (!durable) co_return durable;
    told.promise(subject, number, survives::power_loss);
    names = after(next, number, std::move(names));
  }
  co_return result<void>{};
}

/// What each name leads to: 0 for a file that is not whole, as of a step that was cut.
task<result<tree>> found_names(const surroundings& where) {
  tree found;
  const auto entries = co_await list_directory(where.context, directory_of(where));
  if (!entries) co_return std::unexpected(entries.error());
  for (const directory_entry& each : *entries) {
    const auto bytes = co_await contents_of(where.context, directory_of(where) + '/' + each.name);
    if (!bytes) co_return std::unexpected(bytes.error());
    found[each.name] = static_cast<unsigned>(version_in(*bytes, where.seed, subject).value_or(0));
  }
  co_return found;
}

// The last step that may be seen may be a file whose contents were not promised yet.
bool matches(const tree& expected, const tree& found, unsigned unpromised) {
  return std::ranges::equal(expected, found, [unpromised](const auto& one, const auto& other) {
    const bool is_cut_off = one.second == unpromised && other.second == 0;
    return one.first == other.first && (one.second == other.second || is_cut_off);
  });
}

std::string described(const tree& names) {
  std::string words = "{";
  for (const auto& [name, number] : names) words += ' ' + name + ':' + std::to_string(number);
  return words + " }";
}

task<violations> check(const surroundings& where, const promise_book& kept) {
  const auto promised =
      static_cast<unsigned>(std::max(kept.version_of(subject), kept.version_of("visible names")));
  const auto found = co_await found_names(where);
  if (!found && promised == 0 && found.error().value() == ENOENT) co_return violations{};
  if (!found) co_return violations{failure("look through", directory_of(where), found.error())};
  // A step begins when the one before has been promised: one step further, and no more.
  tree names;
  tree last_promised;
  for (unsigned number = 0; number <= promised + 1 && number <= 3 * where.rounds; ++number) {
    if (number > 0) {
      const step next = draw_step(where, number, names);
      names = after(next, number, std::move(names));
    }
    if (number >= promised && matches(names, *found, promised + 1)) co_return violations{};
    if (number == promised) last_promised = names;
  }
  co_return violations{"the names are " + described(*found) + " after step " +
                       std::to_string(promised) + ", which made " + described(last_promised)};
}

}  // namespace

scenario names() { return {.name = "names", .run = &run, .check = &check}; }

}  // namespace weir::scenarios
