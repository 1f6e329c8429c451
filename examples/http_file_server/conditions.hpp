// What RFC 9110 13 and 14 make of a request's conditions and range.
#pragma once

#include <cstdint>
#include <ctime>
#include <string_view>

#include "request.hpp"

namespace http_file_server {

/// What a client can hold a representation against.
struct validators {
  std::string_view etag;  ///< strong, with its quotes
  std::time_t modified = 0;
  std::string_view last_modified;  ///< the same as it is sent
};

/// Bytes [first, first + length) of a file, and with which status.
struct selection {
  unsigned status = 200;  ///< 200, 206, 304, 412 or 416
  std::uint64_t first = 0;
  std::uint64_t length = 0;  ///< 0 for 304, 412 and 416
};

/// Of a file of `size` bytes. Several ranges at once, and units that are not bytes, are answered as
/// a server may: with the whole file.
selection select(const request& asked, const validators& current, std::uint64_t size);

}  // namespace http_file_server
