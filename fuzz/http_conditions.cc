// Ranges, conditions and dates, as the example's web server takes them from a request's head. The
// first byte is the method; then come the file's size, and the fields, one in each line.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "conditions.hpp"
#include "http_date.hpp"
#include "support/choices.hpp"
#include "support/promise.hpp"

namespace {

using namespace http_file_server;
using weir::fuzzing::promise;

constexpr std::time_t modified = 784'111'777;

std::string_view next_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

void promises_about_a_selection(const selection& made, const request& asked, std::uint64_t size) {
  promise(made.first <= size && made.length <= size - made.first);
  switch (made.status) {
    case 200:
      promise(made.first == 0 && made.length == size);
      break;
    case 206:
      promise(made.length > 0 && asked.method == method::get && !asked.range.empty());
      break;
    default:
      promise(made.status == 304 || made.status == 412 || made.status == 416);
      promise(made.length == 0);
  }
}

void promises_about_a_date(std::string_view text) {
  const auto time = parse_http_date(text);
  constexpr std::time_t year_9999 = 253'402'300'799;
  // What is sent has four digits for the year.
  if (!time || *time < -62'135'596'800 || *time > year_9999) return;
  promise(parse_http_date(http_date(*time)) == time);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  weir::testing::choices by({data, size});
  request asked{.method = by.one_of(std::array{method::get, method::head, method::other})};
  const std::uint64_t file_size = by.number(by.byte() % 9);
  std::string_view text = by.rest();
  for (std::string_view* field :
       {&asked.range, &asked.if_range, &asked.if_match, &asked.if_none_match,
        &asked.if_modified_since, &asked.if_unmodified_since}) {
    *field = next_line(text);
    promises_about_a_date(*field);
  }
  const std::string date = http_date(modified);
  const validators current{.etag = "\"1-2\"", .modified = modified, .last_modified = date};
  promises_about_a_selection(select(asked, current, file_size), asked, file_size);
  return 0;
}
