#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <span>
#include <string_view>
#include <vector>

#include "weir/request.hpp"

namespace weir::testing::differential {

/// What files may be called. Few, so that operations meet; none leads out of the tree, whatever
/// links there are.
inline constexpr std::array<std::string_view, 12> names = {
    "a", "b", "c", "d", "e", "d/a", "d/b", "e/d", "a/b", ".", "..", "missing/a"};
/// A name that is too long, and one that is none.
inline constexpr std::size_t long_name = names.size();
inline constexpr std::size_t empty_name = names.size() + 1;
inline constexpr std::size_t name_count = names.size() + 2;

/// How many files are open at most.
inline constexpr std::size_t slots = 6;
/// What O_DIRECT is content with everywhere.
inline constexpr std::uint64_t page = 4096;
/// The most bytes of a transfer.
inline constexpr std::uint64_t transfer_most = 3 * page;

/// One operation, with files by the number of a slot and paths by that of a name: so it means the
/// same to every driver.
struct planned {
  opcode op = opcode::nop;
  std::size_t slot = 0;
  std::size_t second_slot = 0;
  std::size_t name = 0;
  std::size_t second_name = 0;
  std::uint32_t flags = 0;
  std::uint32_t mode = 0;
  std::uint64_t offset = 0;
  std::uint64_t second_offset = 0;
  std::uint64_t length = 0;
  std::uint8_t seed = 0;   ///< of the bytes that are written
  bool no_memory = false;  ///< the address is null
};

/// What is started together; the next step waits for all of it.
struct step {
  enum class kind : std::uint8_t {
    alone,        ///< anything, also what fails
    together,     ///< transfers of one file that touch different bytes
    paths,        ///< operations on different names
    cancelled,    ///< a read, and a request to cancel it
    never_ready,  ///< a wait for what does not happen, and a request to cancel it
    pipe_out,     ///< splice from a file into a pipe
    pipe_in,      ///< splice from a pipe into a file
  };
  kind what = kind::alone;
  std::vector<planned> operations;
};

/// Any bytes are a script, in which each step has one outcome only.
std::vector<step> script_of(std::span<const std::uint8_t> bytes);

std::ostream& operator<<(std::ostream& out, const planned& what);

}  // namespace weir::testing::differential
