// What each example of an event loop does there: counts the lines of a file, block by block. It
// looks like blocking code and holds nobody up; which loop drives it, it does not know.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <system_error>
#include <utility>

#include <weir/weir.hpp>

struct line_count {
  std::error_code error;
  std::size_t lines = 0;
};

inline weir::task<> count_lines(weir::io_context& context, const char* path,
                                std::function<void(line_count)> done) {
  line_count counted;
  auto file = co_await weir::open(context, path);
  if (!file) {
    counted.error = file.error();
    co_return done(counted);
  }
  weir::buffer block(std::size_t{64} << 10);
  for (std::uint64_t offset = 0;;) {
    auto [count, data] = co_await file->read_at(std::move(block), offset);
    block = std::move(data);
    if (!count) counted.error = count.error();
    if (count.value_or(0) == 0) break;
    const auto lines = std::ranges::count(block.span().first(*count), std::byte{'\n'});
    counted.lines += static_cast<std::size_t>(lines);
    offset += *count;
  }
  const auto closed = co_await file->close();
  if (!closed && !counted.error) counted.error = closed.error();
  done(counted);
}

/// Says it; what a program exits with.
inline int report(const char* path, const line_count& counted) {
  if (counted.error) {
    std::fprintf(stderr, "%s: %s\n", path, counted.error.message().c_str());
    return 1;
  }
  std::printf("%s: %zu lines\n", path, counted.lines);
  return 0;
}
