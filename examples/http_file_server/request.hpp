#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace http_file_server {

enum class method : std::uint8_t { get, head, other };

/// What a request's head says, as far as a file server wants to know. The views are into the head
/// itself. Fields that were not sent are empty.
struct request {
  http_file_server::method method = method::other;
  std::string_view target;
  std::string_view range;
  std::string_view if_range;
  std::string_view if_match;
  std::string_view if_none_match;
  std::string_view if_modified_since;
  std::string_view if_unmodified_since;
  bool keep_alive = false;  ///< another request may follow
};

enum class parse_status : std::uint8_t {
  done,
  incomplete,  ///< more bytes are wanted; nothing has been consumed
  malformed,   ///< 400
  too_large,   ///< 431: the head is longer than `head_max`
  has_body,    ///< 413: bodies are not read
};

struct parsed {
  parse_status status = parse_status::incomplete;
  std::size_t consumed = 0;  ///< the head's length
  request head;
};

inline constexpr std::size_t head_max = 8192;

/// Reads the head at the beginning of `input`.
parsed parse_request(std::string_view input);

}  // namespace http_file_server
