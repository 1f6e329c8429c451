#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace http_file_server {

/// The path below the served directory that a request-target names: decoded, without its query and
/// leading slashes, "" for the directory itself. Nothing for a target that names no path, is badly
/// encoded, or holds a NUL. Whether the path stays within the directory is for openat2(2) to say.
std::optional<std::string> path_of_target(std::string_view target);

/// The other way round, for a link: what is not plain in a path is percent-encoded.
std::string encoded(std::string_view path);

}  // namespace http_file_server
