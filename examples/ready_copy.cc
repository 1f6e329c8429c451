// Copies a file in an epoll loop of one's own, the way sockets are handled there: try, and when
// that says EAGAIN, do something else until an event comes. Something else is a pair of sockets
// that pass a byte to and fro.
//
//     ready_copy FROM TO

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <span>
#include <system_error>

#include <weir/ready_file.hpp>

namespace {

struct copying {
  weir::ready_file from, to;
  std::array<std::byte, 65536> memory{};
  std::span<const std::byte> unwritten;

  /// Gets on until something has to be waited for: then the error is EAGAIN. No error: all has been
  /// read and accepted.
  std::error_code get_on() {
    for (;;) {
      if (unwritten.empty()) {
        const auto got = from.try_read(memory);
        if (!got) return got.error();
        if (*got == 0) return {};
        unwritten = std::span(memory).first(*got);
      }
      const auto put = to.try_write(unwritten);
      if (!put) return put.error();
      unwritten = unwritten.subspan(*put);
    }
  }
};

int failed(const char* what, std::error_code why) {
  std::fprintf(stderr, "ready_copy: %s: %s\n", what, why.message().c_str());
  return 1;
}

int failed(const char* what) { return failed(what, {errno, std::system_category()}); }

bool watch(int epoll, int fd) {
  epoll_event wanted{.events = EPOLLIN, .data = {.fd = fd}};
  return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &wanted) == 0;
}

}  // namespace

int main(int argument_count, char** arguments) {
  if (argument_count != 3) return 2;
  weir::ready_files files;
  auto from = weir::ready_file::open(files, arguments[1]);
  auto to = weir::ready_file::open(
      files, arguments[2], {.read = false, .write = true, .create = true, .truncate = true});
  if (!from) return failed(arguments[1], from.error());
  if (!to) return failed(arguments[2], to.error());
  copying copy{.from = std::move(*from), .to = std::move(*to)};
  const int target = copy.to.handle();

  std::array<int, 2> sockets{};
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets.data()) != 0 || !watch(epoll, sockets[0]) ||
      !watch(epoll, sockets[1]) || !watch(epoll, files.fd()) || ::write(sockets[0], "x", 1) != 1) {
    return failed("setting up the loop");
  }

  unsigned long passed = 0;
  for (std::array<epoll_event, 16> ready{};;) {
    const int count = ::epoll_wait(epoll, ready.data(), static_cast<int>(ready.size()), -1);
    for (int i = 0; i < count; ++i) {
      const int fd = ready[static_cast<std::size_t>(i)].data.fd;
      char byte = 0;
      if (fd != files.fd() && ::read(fd, &byte, 1) == 1 && ::write(fd, &byte, 1) == 1) ++passed;
    }
    while (const auto event = files.next()) {
      if (event->what == weir::ready::closed && event->handle == target) {
        if (event->error) return failed(arguments[2], event->error);
        std::printf("copied, and %lu bytes passed between the sockets meanwhile\n", passed);
        return 0;
      }
      if (copy.to.handle() < 0) continue;  // of `from` there is nothing more to hear
      const std::error_code outcome = copy.get_on();
      if (outcome == std::errc::resource_unavailable_try_again) continue;
      if (outcome) return failed("copying", outcome);
      // What it was all for: closing tells whether everything has been written.
      if (auto closing = copy.to.close(); !closing) return failed(arguments[2], closing.error());
    }
  }
}
