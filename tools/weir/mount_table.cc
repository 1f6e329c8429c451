#include "mount_table.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <iterator>
#include <sstream>
#include <string_view>
#include <vector>

namespace weir::tools {
namespace {

// Blanks and backslashes are written as three octal digits.
std::string unescaped(std::string_view text) {
  std::string plain;
  while (!text.empty()) {
    int value = 0;
    const char* digits = text.data() + 1;
    const bool escaped = text.front() == '\\' && text.size() >= 4 &&
                         std::from_chars(digits, digits + 3, value, 8).ptr == digits + 3;
    plain += escaped ? static_cast<char>(value) : text.front();
    text.remove_prefix(escaped ? 4 : 1);
  }
  return plain;
}

}  // namespace

// "36 35 98:0 /root /mount/point rw,noatime master:1 - ext4 /dev/sda1 rw"
std::optional<mount> mount_of(const std::string& line) {
  std::istringstream words(line);
  const std::vector<std::string> word{std::istream_iterator<std::string>(words), {}};
  constexpr std::ptrdiff_t fixed = 6;  // then come those of which there may be any number
  if (std::ssize(word) < fixed) return std::nullopt;
  const auto dash = std::find(word.begin() + fixed, word.end(), "-");
  if (word.end() - dash < 3) return std::nullopt;
  return mount{.id = word[0],
               .point = unescaped(word[4]),
               .type = unescaped(dash[1]),
               .source = unescaped(dash[2])};
}

}  // namespace weir::tools
