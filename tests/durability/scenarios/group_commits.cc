// Several coroutines append records of their own to files that they share. A record that was
// committed is found whole; of the others nothing is known.

#include <cstddef>
#include <utility>

#include "durability/contents.hpp"
#include "durability/scenarios/scenarios.hpp"
#include "weir/commit.hpp"

namespace weir::scenarios {
namespace {

constexpr unsigned file_count = 3;
constexpr unsigned writer_count = 4;
constexpr std::size_t record_room = 6000;  // no multiple of a page or a sector

/// One record: who writes it, where, and how.
struct record {
  std::string name;
  std::uint64_t offset;
  std::size_t size;
  durability how;
  bool in_pieces;
};

std::string file_name(unsigned number) { return "log" + std::to_string(number); }

record record_of(const surroundings& where, unsigned file, unsigned writer, unsigned round) {
  record made{.name = file_name(file) + '/' + std::to_string(writer) + '/' + std::to_string(round),
              .offset = (std::uint64_t{round} * writer_count + writer) * record_room,
              .size = 0,
              .how = durability::data,
              .in_pieces = false};
  made.size = 1 + drawn(where.seed, made.name, 0) % record_room;
  const std::uint64_t choice = drawn(where.seed, made.name, 1) % 8;
  if (choice == 0) made.how = durability::none;
  if (choice >= 6) made.how = durability::full;
  made.in_pieces = drawn(where.seed, made.name, 2) % 2 == 0;
  return made;
}

std::vector<pending_write> pieces_of(const record& which, std::span<const std::byte> bytes) {
  if (!which.in_pieces) return {{bytes, which.offset}};
  const std::size_t half = bytes.size() / 2;
  return {{bytes.first(half), which.offset}, {bytes.subspan(half), which.offset + half}};
}

task<std::error_code> write_records(const surroundings& where, promises& told, file& log,
                                    unsigned number, unsigned writer) {
  std::vector<std::byte> bytes;
  for (unsigned round = 0; round < where.rounds; ++round) {
    const record next = record_of(where, number, writer, round);
    bytes.resize(next.size);
    fill(bytes, where.seed, next.name);
    const transfer_result done = co_await commit(log, pieces_of(next, bytes), next.how);
    if (!done) co_return done.error();
    const bool durable = next.how != durability::none;
    told.promise(next.name, 1, durable ? survives::power_loss : survives::process_end);
  }
  co_return std::error_code{};
}

task<std::error_code> write_file(const surroundings& where, promises& told, unsigned number) {
  result<file> log =
      co_await create_durably(where.context, where.directory + '/' + file_name(number));
  if (!log) co_return log.error();
  told.promise(file_name(number), 1, survives::power_loss);
  std::vector<task<std::error_code>> writers;
  for (unsigned writer = 0; writer < writer_count; ++writer) {
    writers.push_back(write_records(where, told, *log, number, writer));
  }
  const std::vector<std::error_code> outcomes = co_await when_all(std::move(writers));
  const result<void> closed = co_await log->close();
  for (const std::error_code& each : outcomes) {
    if (each) co_return each;
  }
  co_return closed ? std::error_code{} : closed.error();
}

task<result<void>> run(const surroundings& where, promises& told) {
  std::vector<task<std::error_code>> files;
  for (unsigned number = 0; number < file_count; ++number) {
    files.push_back(write_file(where, told, number));
  }
  for (const std::error_code& each : co_await when_all(std::move(files))) {
    if (each) co_return std::unexpected(each);
  }
  co_return result<void>{};
}

void check_record(const surroundings& where, const record& expected,
                  std::span<const std::byte> found, violations& wrong) {
  if (found.size() < expected.offset + expected.size) {
    wrong.push_back("record " + expected.name + " is beyond the end, " +
                    std::to_string(found.size()));
  } else if (!is_filled(found.subspan(expected.offset, expected.size), where.seed, expected.name)) {
    wrong.push_back("record " + expected.name + " is not what was committed");
  }
}

task<violations> check(const surroundings& where, const promise_book& kept) {
  violations wrong;
  for (unsigned number = 0; number < file_count; ++number) {
    if (kept.version_of(file_name(number)) == 0) continue;
    const std::string path = where.directory + '/' + file_name(number);
    const auto found = co_await contents_of(where.context, path);
    if (!found) {
      wrong.push_back(failure("read", path, found.error()));
      continue;
    }
    for (unsigned index = 0; index < writer_count * where.rounds; ++index) {
      const record each = record_of(where, number, index % writer_count, index / writer_count);
      if (kept.version_of(each.name) != 0) check_record(where, each, *found, wrong);
    }
  }
  co_return wrong;
}

}  // namespace

scenario group_commits() { return {.name = "commits", .run = &run, .check = &check}; }

}  // namespace weir::scenarios
