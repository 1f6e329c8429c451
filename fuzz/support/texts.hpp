#pragma once

#include <algorithm>
#include <string_view>

namespace weir::fuzzing {

/// Up to a NUL, which is passed over.
inline std::string_view next_text(std::string_view& texts) {
  const std::size_t end = std::min(texts.find('\0'), texts.size());
  const std::string_view text = texts.substr(0, end);
  texts.remove_prefix(std::min(end + 1, texts.size()));
  return text;
}

}  // namespace weir::fuzzing
