#include "http_date.hpp"

#include <array>

namespace http_file_server {

// The program never leaves the C locale, where strftime(3) and strptime(3) know English names.

std::string http_date(std::time_t time) {
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  std::array<char, 64> text{};
  const auto length = std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return {text.data(), length};
}

std::optional<std::time_t> parse_http_date(std::string_view text) {
  constexpr std::array forms = {
      "%a, %d %b %Y %H:%M:%S GMT",
      "%a, %d-%b-%y %H:%M:%S GMT",  // RFC 850
      "%a %b %e %H:%M:%S %Y",       // asctime(3)
  };
  const std::string ended(text);
  for (const char* form : forms) {
    std::tm parts{};
    const char* rest = ::strptime(ended.c_str(), form, &parts);
    if (rest != nullptr && *rest == '\0') return ::timegm(&parts);
  }
  return std::nullopt;
}

}  // namespace http_file_server
