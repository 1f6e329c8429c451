#pragma once

#include <sstream>
#include <string>
#include <utility>

namespace weir::campaign {

/// One after the other, as a stream shows them.
template <class... Parts>
std::string in_words(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return std::move(text).str();
}

}  // namespace weir::campaign
