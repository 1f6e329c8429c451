#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weir/file.hpp"
#include "weir/task.hpp"

/// Bytes that show whose they are, and choices that depend on nothing but seed and name.
namespace weir::scenarios {

/// A number that belongs to a seed, a name and a purpose. Choices made by it do not depend on the
/// order in which they are made.
std::uint64_t drawn(std::uint64_t seed, std::string_view name, std::uint64_t purpose = 0);

/// Random bytes that belong to a seed, a name and a place.
void fill(std::span<std::byte> memory, std::uint64_t seed, std::string_view name,
          std::uint64_t offset = 0);
bool is_filled(std::span<const std::byte> memory, std::uint64_t seed, std::string_view name,
               std::uint64_t offset = 0);

/// Contents of a whole file that say which version they are, at least this long.
inline constexpr std::size_t smallest_version = 16;
std::vector<std::byte> make_version(std::uint64_t seed, std::string_view name,
                                    std::uint64_t version, std::size_t size);
/// Which version that is; nothing where it is none, whole.
std::optional<std::uint64_t> version_in(std::span<const std::byte> bytes, std::uint64_t seed,
                                        std::string_view name);

/// All of a file, as it is.
task<result<std::vector<std::byte>>> contents_of(io_context& context, std::string path);

/// "cannot open 'x': …": a violation, where something that must be readable is not.
std::string failure(std::string_view verb, std::string_view path, std::error_code why);

}  // namespace weir::scenarios
