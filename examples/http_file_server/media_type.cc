#include "media_type.hpp"

#include <strings.h>

#include <algorithm>
#include <array>

namespace http_file_server {
namespace {

struct known_type {
  std::string_view extension;
  std::string_view type;
};

constexpr std::array known_types = {
    known_type{"html", "text/html; charset=utf-8"},
    known_type{"htm", "text/html; charset=utf-8"},
    known_type{"css", "text/css; charset=utf-8"},
    known_type{"js", "text/javascript; charset=utf-8"},
    known_type{"mjs", "text/javascript; charset=utf-8"},
    known_type{"json", "application/json"},
    known_type{"txt", "text/plain; charset=utf-8"},
    known_type{"md", "text/markdown; charset=utf-8"},
    known_type{"csv", "text/csv; charset=utf-8"},
    known_type{"xml", "application/xml"},
    known_type{"svg", "image/svg+xml"},
    known_type{"png", "image/png"},
    known_type{"jpg", "image/jpeg"},
    known_type{"jpeg", "image/jpeg"},
    known_type{"gif", "image/gif"},
    known_type{"webp", "image/webp"},
    known_type{"avif", "image/avif"},
    known_type{"ico", "image/x-icon"},
    known_type{"woff", "font/woff"},
    known_type{"woff2", "font/woff2"},
    known_type{"mp3", "audio/mpeg"},
    known_type{"ogg", "audio/ogg"},
    known_type{"mp4", "video/mp4"},
    known_type{"webm", "video/webm"},
    known_type{"pdf", "application/pdf"},
    known_type{"wasm", "application/wasm"},
    known_type{"gz", "application/gzip"},
    known_type{"zip", "application/zip"},
    known_type{"tar", "application/x-tar"},
};

bool same_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

std::string_view media_type(std::string_view path) noexcept {
  const auto name = path.substr(path.rfind('/') + 1);
  const auto dot = name.rfind('.');
  if (dot == std::string_view::npos) return "application/octet-stream";
  const auto extension = name.substr(dot + 1);
  const auto found = std::ranges::find_if(known_types, [&](const known_type& known) {
    return same_ignoring_case(known.extension, extension);
  });
  return found != known_types.end() ? found->type : "application/octet-stream";
}

}  // namespace http_file_server
