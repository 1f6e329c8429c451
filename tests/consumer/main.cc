// A user's first program: `consumer FILE` writes the file, reads it back, and exits 0 if the bytes
// are the same.
#include <array>
#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <weir/weir.hpp>

namespace {

constexpr std::string_view text = "through the weir\n";

weir::task<std::error_code> write_and_read_back(weir::io_context& context, std::string path) {
  auto opened = co_await weir::open(
      context, path, {.read = true, .write = true, .create = true, .truncate = true});
  if (!opened) co_return opened.error();
  weir::file file = std::move(*opened);

  auto written = co_await file.write_all_at(std::as_bytes(std::span(text)), 0);
  if (!written) co_return written.error();

  std::array<char, text.size()> back{};
  auto read = co_await file.read_exactly_at(std::as_writable_bytes(std::span(back)), 0);
  if (!read) co_return read.error();
  if (std::string_view(back.data(), back.size()) != text) {
    co_return std::make_error_code(std::errc::io_error);
  }

  auto closed = co_await file.close();
  co_return closed ? std::error_code{} : closed.error();
}

}  // namespace

int main(int argc, char* argv[]) {
  if (argc != 2) {
    std::fputs("usage: consumer FILE\n", stderr);
    return 2;
  }
  auto driver = weir::open_driver();
  if (!driver) {
    std::fprintf(stderr, "consumer: no driver: %s\n", driver.error().message().c_str());
    return 1;
  }
  weir::io_context context(std::move(*driver));
  if (const std::error_code error = context.run(write_and_read_back(context, argv[1]))) {
    std::fprintf(stderr, "consumer: %s: %s\n", argv[1], error.message().c_str());
    return 1;
  }
  std::puts("the bytes came back");
  return 0;
}
