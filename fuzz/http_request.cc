// What a browser may send, as the example's web server reads it: the head, and the path that it
// names.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "request.hpp"
#include "support/promise.hpp"
#include "target.hpp"

namespace {

using namespace http_file_server;
using weir::fuzzing::promise;

bool lies_within(std::string_view part, std::string_view whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

void promises_about_a_path(std::string_view target) {
  const auto path = path_of_target(target);
  if (!path) return;
  promise(path->find('\0') == std::string::npos);
  promise(!path->starts_with('/'));
  // A link to it leads there.
  promise(path_of_target("/" + encoded(*path)) == path);
}

void promises_about_a_head(const parsed& asked, std::string_view input) {
  promise(asked.consumed > 0 && asked.consumed <= input.size());
  for (const std::string_view each :
       {asked.head.target, asked.head.range, asked.head.if_range, asked.head.if_match,
        asked.head.if_none_match, asked.head.if_modified_since, asked.head.if_unmodified_since}) {
    promise(lies_within(each, input.substr(0, asked.consumed)));
  }
  promises_about_a_path(asked.head.target);
}

// Bytes come in pieces of any size: a head that has come to its end is not judged otherwise before
// that, and not by what follows it.
void promises_about_pieces(const parsed& asked, std::string_view input) {
  for (std::size_t length = 0; length < asked.consumed; ++length) {
    promise(parse_request(input.substr(0, length)).status == parse_status::incomplete);
  }
  const parsed alone = parse_request(input.substr(0, asked.consumed));
  promise(alone.status == parse_status::done && alone.consumed == asked.consumed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A copy of exactly that size, so that a byte too far is seen.
  const std::string input(reinterpret_cast<const char*>(data), size);
  promises_about_a_path(input);
  const parsed asked = parse_request(input);
  if (asked.status != parse_status::done) return 0;
  promises_about_a_head(asked, input);
  promises_about_pieces(asked, input);
  return 0;
}
