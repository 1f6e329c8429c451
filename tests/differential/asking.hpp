#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "weir/io_context.hpp"

namespace weir::testing::differential {

/// An operation that remembers nothing but its answer.
class asked : public operation {
 public:
  explicit asked(const request& what) noexcept : operation(what, [](operation&) noexcept {}) {}
};

/// One operation, by itself.
std::int32_t ask(io_context& context, const request& what);

/// A short text that differs where the bytes do.
std::string digest(std::span<const std::byte> bytes);

/// The entries of a directory in alphabetical order, a line for each; or the error.
std::vector<std::string> entries_of(io_context& context, int directory);

/// A line for what is there, and for all that is below it.
std::vector<std::string> tree_of(io_context& context, int root);

/// What does not depend on when it was made, or by whom.
std::string status_of(io_context& context, int fd);

}  // namespace weir::testing::differential
