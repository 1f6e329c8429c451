#include "failures.hpp"

#include <cstdio>
#include <string>

namespace weir::tools {

void failures::add(std::string_view verb, std::string_view path, std::error_code error,
                   std::string_view after) {
  std::string sentence = "cannot ";
  sentence.append(verb).append(" '").append(path).append("': ").append(error.message());
  if (!after.empty()) sentence.append("; ").append(after);
  add(sentence);
}

void failures::add(std::string_view sentence) {
  ++count_;
  warn(sentence);
}

void failures::warn(std::string_view sentence) {
  before_each_();
  std::fprintf(stderr, "weir cp: %.*s\n", static_cast<int>(sentence.size()), sentence.data());
}

}  // namespace weir::tools
