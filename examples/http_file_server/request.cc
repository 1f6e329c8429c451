#include "request.hpp"

#include <functional>
#include <utility>

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

namespace http_file_server {
namespace {

namespace http = boost::beast::http;
using boost::beast::string_view;
using boost::system::error_code;

std::string_view view(string_view text) noexcept { return {text.data(), text.size()}; }

/// Beast's grammar without its containers: notes views of the fields that matter, allocates
/// nothing.
class head_parser final : public http::basic_parser<true> {
 public:
  explicit head_parser(std::string_view input) : input_(input) { this->header_limit(head_max); }

  request head;
  bool has_host = false;
  bool needs_host = false;

 private:
  void on_request_impl(http::verb verb, string_view, string_view target, int version,
                       error_code&) override {
    if (verb == http::verb::get) head.method = method::get;
    if (verb == http::verb::head) head.method = method::head;
    head.target = view(target);
    needs_host = version >= 11;
  }

  // A value that goes over several lines is put together elsewhere, for the time of the call. It
  // may be refused (RFC 9112 5.2).
  bool is_in_input(string_view value) const noexcept {
    return value.empty() || (std::less_equal<>()(input_.data(), value.data()) &&
                             std::less<>()(value.data(), input_.data() + input_.size()));
  }

  void on_field_impl(http::field name, string_view, string_view value, error_code& error) override {
    if (!is_in_input(value)) {
      error = http::error::bad_value;
      return;
    }
    if (name == http::field::host) {
      if (std::exchange(has_host, true)) error = http::error::bad_field;
      return;
    }
    if (std::string_view* place = place_of(name)) *place = view(value);
  }

  std::string_view* place_of(http::field name) noexcept {
    switch (name) {
      case http::field::range:
        return &head.range;
      case http::field::if_range:
        return &head.if_range;
      case http::field::if_match:
        return &head.if_match;
      case http::field::if_none_match:
        return &head.if_none_match;
      case http::field::if_modified_since:
        return &head.if_modified_since;
      case http::field::if_unmodified_since:
        return &head.if_unmodified_since;
      default:
        return nullptr;
    }
  }

  // What basic_parser tells of besides: a server that reads no bodies ends before it comes.
  void on_response_impl(int, string_view, int, error_code&) override {}
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(string_view body, error_code&) override { return body.size(); }
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, string_view body, error_code&) override {
    return body.size();
  }
  void on_finish_impl(error_code&) override {}

  std::string_view input_;
};

// A head that has filled its limit and is not at its end is too large whatever would follow.
parse_status status_of(const error_code& error, std::size_t length) noexcept {
  if (error == http::error::need_more) {
    return length < head_max ? parse_status::incomplete : parse_status::too_large;
  }
  if (error == http::error::header_limit) return parse_status::too_large;
  return parse_status::malformed;
}

// RFC 9112 2.2: an empty line before a request is overlooked.
std::size_t empty_lines(std::string_view input) noexcept {
  std::size_t length = 0;
  while (input.substr(length, 2) == "\r\n") length += 2;
  return length;
}

}  // namespace

parsed parse_request(std::string_view input) {
  const std::size_t skipped = empty_lines(input);
  input.remove_prefix(skipped);
  // The half of an empty line is no request yet; the parser would refuse it.
  if (input.empty() || input == "\r") return {};
  head_parser parser(input);
  error_code error;
  const std::size_t used = parser.put({input.data(), input.size()}, error);
  if (error) return {.status = status_of(error, skipped + input.size())};
  if (!parser.is_header_done()) return {};
  if (parser.needs_host && !parser.has_host) return {.status = parse_status::malformed};
  if (!parser.is_done()) return {.status = parse_status::has_body};
  parser.head.keep_alive = parser.keep_alive();
  return {.status = parse_status::done, .consumed = skipped + used, .head = parser.head};
}

}  // namespace http_file_server
