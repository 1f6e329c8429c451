#include "pump.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>

namespace weir::tools {
namespace {

constexpr std::uint64_t piece = std::uint64_t{1} << 20;
constexpr std::size_t memory_size = std::size_t{256} << 10;

std::error_code last() { return {errno, std::system_category()}; }

std::size_t next_piece(const pumped& so_far, std::uint64_t limit, std::uint64_t most) {
  return static_cast<std::size_t>(std::min(limit - so_far.bytes, most));
}

bool write_all(int to, std::span<const char> bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(to, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
  }
  return true;
}

using heard = std::function<bool(std::uint64_t)>;

pumped interrupted_at(std::uint64_t bytes) {
  return {.bytes = bytes, .error = std::make_error_code(std::errc::interrupted)};
}

/// One side at a time: who fails is known.
pumped through_memory(int from, int to, std::uint64_t limit, pumped done, const heard& moved) {
  const auto memory = std::make_unique<std::array<char, memory_size>>();
  while (done.bytes < limit) {
    const ssize_t got = ::read(from, memory->data(), next_piece(done, limit, memory_size));
    if (got < 0 && errno != EINTR) return {.bytes = done.bytes, .error = last(), .at_input = true};
    if (got == 0) break;
    const std::size_t bytes = got > 0 ? static_cast<std::size_t>(got) : 0;
    if (!write_all(to, std::span(*memory).first(bytes))) {
      return {.bytes = done.bytes, .error = last()};
    }
    done.bytes += bytes;
    if (!moved(bytes)) return interrupted_at(done.bytes);
  }
  return done;
}

}  // namespace

pumped pump(int from, int to, std::uint64_t limit, const heard& moved) {
  pumped done;
  while (done.bytes < limit) {
    const ssize_t got =
        ::splice(from, nullptr, to, nullptr, next_piece(done, limit, piece), SPLICE_F_MOVE);
    // Of no use between these two; or one has failed, and through memory it is seen which.
    if (got < 0 && errno != EINTR) return through_memory(from, to, limit, done, moved);
    if (got == 0) break;
    const std::uint64_t bytes = got > 0 ? static_cast<std::uint64_t>(got) : 0;
    done.bytes += bytes;
    if (!moved(bytes)) return interrupted_at(done.bytes);
  }
  return done;
}

}  // namespace weir::tools
