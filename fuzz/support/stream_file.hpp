#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "support/choices.hpp"
#include "support/promise.hpp"
#include "weir/faulty.hpp"
#include "weir/file.hpp"
#include "weir/io_context.hpp"

namespace weir::fuzzing {

enum class failing { never, perhaps };

/// A context whose transfers move as much, and in that order, as the input wants.
inline std::unique_ptr<io_context> context_by(testing::choices& by,
                                              failing how = failing::perhaps) {
  faulty_options options = faults_of_timing(by.number(2));
  options.short_transfer = static_cast<double>(by.below(4)) / 4;
  options.io_error = how == failing::perhaps && by.one_in(4) ? 0.05 : 0;
  options.no_space = options.io_error;
  options.queue_depth = 4;
  auto inner = open_driver({.name = "sync", .queue_depth = options.queue_depth});
  promise(inner.has_value());
  auto made = make_faulty(std::move(*inner), options);
  promise(made.has_value());
  return std::make_unique<io_context>(std::move(*made));
}

/// Text with a line end here and there.
inline std::string text_by(testing::choices& by, std::size_t most) {
  const std::size_t size = by.below(most);
  const std::size_t line = 1 + by.byte();
  std::string text(size, 'x');
  for (std::size_t i = 0; i < size; ++i) {
    text[i] = (i + 1) % line == 0 ? '\n' : static_cast<char>('a' + i * 7 % 23);
  }
  return text;
}

/// A file in memory.
class stream_file {
 public:
  explicit stream_file(std::string_view contents) : fd_(::memfd_create("stream", MFD_CLOEXEC)) {
    promise(fd_ >= 0);
    const auto size = static_cast<ssize_t>(contents.size());
    promise(::pwrite(fd_, contents.data(), contents.size(), 0) == size);
  }
  stream_file(const stream_file&) = delete;
  stream_file& operator=(const stream_file&) = delete;
  ~stream_file() { ::close(fd_); }

  /// Opened once more.
  file open(io_context& context, int flags) const {
    const std::string path = "/proc/self/fd/" + std::to_string(fd_);
    return file(context, ::open(path.c_str(), flags | O_CLOEXEC));
  }

  std::string contents() const {
    const off_t size = ::lseek(fd_, 0, SEEK_END);
    std::string text(static_cast<std::size_t>(size), '\0');
    promise(::pread(fd_, text.data(), text.size(), 0) == size);
    return text;
  }

 private:
  int fd_;
};

}  // namespace weir::fuzzing
