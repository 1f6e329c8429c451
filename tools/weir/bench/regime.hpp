#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace weir::tools::bench {

inline constexpr std::size_t kib = 1024;
inline constexpr std::size_t mib = 1024 * kib;

/// How much of the file is read and written again and again where the page cache is to have it all.
inline constexpr std::size_t warm_bytes = 16 * mib;

/// Where a transfer finds the bytes, or leaves them.
enum class cache {
  warm,    ///< in the page cache, which has them: the first `warm_bytes` of the file
  cold,    ///< in the page cache, which has let go of them
  direct,  ///< past the page cache: O_DIRECT
};

enum class work {
  read,
  write,
  durable_write,  ///< each write is followed by fdatasync(2)
};

enum class order { random, sequential };

/// Conditions in which the contestants are compared.
struct regime {
  bench::cache cache;
  bench::work work = work::read;
  bench::order order = order::random;
  std::size_t block = 4 * kib;
  unsigned depth = 1;       ///< operations in flight
  bool neighbours = false;  ///< asks whether it pays to merge what is adjacent

  bool operator==(const regime&) const = default;
};

/// All that are measured, in the order in which they are shown; those of one group together.
std::span<const regime> all_regimes() noexcept;

inline constexpr unsigned max_depth = 128;
/// The memory of all operations in flight, in the regime that takes the most.
inline constexpr std::size_t max_bytes_in_flight = 32 * mib;

/// "O_DIRECT, many at a time".
std::string group_of(const regime& what);

/// "4 KiB random reads, 32 at a time".
std::string title_of(const regime& what);

/// "direct", "durable_write", "sequential": for programs.
const char* name_of(cache which) noexcept;
const char* name_of(work which) noexcept;
const char* name_of(order which) noexcept;

}  // namespace weir::tools::bench
