// One file written by a stream, in pieces of any size, and flushed now and then. What was flushed
// is found. Of the rest nothing is known: blocks reach the file in any order.

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "durability/contents.hpp"
#include "durability/scenarios/scenarios.hpp"
#include "weir/commit.hpp"
#include "weir/stream.hpp"

namespace weir::scenarios {
namespace {

constexpr std::string_view stream_name = "stream";
constexpr std::size_t largest_piece = 9000;

std::string path_of(const surroundings& where) { return where.directory + "/stream"; }

task<std::error_code> flush(writer& out, promises& told, durability how) {
  const transfer_result flushed = co_await out.flush(how);
  if (!flushed) co_return flushed.error();
  const bool durable = how != durability::none;
  told.promise(stream_name, out.position(), durable ? survives::power_loss : survives::process_end);
  co_return std::error_code{};
}

task<std::error_code> write_pieces(const surroundings& where, promises& told, writer& out) {
  constexpr std::array ways{durability::none, durability::data, durability::full};
  std::vector<std::byte> piece;
  for (unsigned number = 0; number < 4 * where.rounds; ++number) {
    piece.resize(1 + drawn(where.seed, "piece", number) % largest_piece);
    fill(piece, where.seed, stream_name, out.position());
    const transfer_result written = co_await out.write(piece);
    if (!written) co_return written.error();
    const std::uint64_t choice = drawn(where.seed, "flush", number) % (2 * ways.size());
    if (choice >= ways.size()) continue;
    const std::error_code unflushed = co_await flush(out, told, ways.at(choice));
    if (unflushed) co_return unflushed;
  }
  co_return std::error_code{};
}

task<result<void>> run(const surroundings& where, promises& told) {
  result<file> target = co_await create_durably(where.context, path_of(where));
  if (!target) co_return std::unexpected(target.error());
  writer out(*std::move(target), {.block_size = 4096, .blocks = 4});
  const std::error_code failed = co_await write_pieces(where, told, out);
  const std::uint64_t all = out.position();
  const transfer_result closed = co_await out.close(durability::data);
  if (failed) co_return std::unexpected(failed);
  if (!closed) co_return std::unexpected(closed.error());
  told.promise(stream_name, all, survives::power_loss);
  co_return result<void>{};
}

task<violations> check(const surroundings& where, const promise_book& kept) {
  const std::uint64_t promised = kept.version_of(stream_name);
  if (promised == 0) co_return violations{};
  const auto found = co_await contents_of(where.context, path_of(where));
  if (!found) co_return violations{failure("read", path_of(where), found.error())};
  if (found->size() < promised) {
    co_return violations{"the stream is " + std::to_string(found->size()) + " bytes long, and " +
                         std::to_string(promised) + " were flushed"};
  }
  if (!is_filled(std::span(*found).first(promised), where.seed, stream_name)) {
    co_return violations{"the stream's first " + std::to_string(promised) +
                         " bytes are not what was flushed"};
  }
  co_return violations{};
}

}  // namespace

scenario streams() { return {.name = "streams", .run = &run, .check = &check}; }

}  // namespace weir::scenarios
