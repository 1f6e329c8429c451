#pragma once

#include <string_view>

namespace http_file_server {

/// What a file of this name is, by its extension; application/octet-stream where that says nothing.
std::string_view media_type(std::string_view path) noexcept;

}  // namespace http_file_server
