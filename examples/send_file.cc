// Sends a file to standard output, whatever that is: a terminal, a pipe, a socket or a file. Says
// on standard error how far it has come, and which way the bytes went; gives up when nobody has
// taken the rest within a minute.
//
//     send_file FILE | wc -c

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <system_error>

#include <weir/transfer.hpp>
#include <weir/weir.hpp>

namespace {

const char* name_of(weir::transfer_route route) {
  switch (route) {
    case weir::transfer_route::buffered:
      return "through memory";
    case weir::transfer_route::sendfile:
      return "by sendfile(2)";
    case weir::transfer_route::splice:
      return "by splice(2)";
    case weir::transfer_route::copy_file_range:
      return "by copy_file_range(2)";
    case weir::transfer_route::reflink:
      return "by sharing blocks";
    case weir::transfer_route::automatic:
      break;
  }
  return "";
}

int failed(const char* what, std::error_code why) {
  std::fprintf(stderr, "send_file: %s: %s\n", what, why.message().c_str());
  return 1;
}

weir::task<int> send(weir::io_context& context, const char* path) {
  auto file = co_await weir::open(context, path);
  if (!file) co_return failed(path, file.error());

  weir::transfer_options options;
  options.deadline = std::chrono::minutes(1);
  options.progress = [](std::uint64_t bytes) {
    std::fprintf(stderr, "\r%llu bytes", static_cast<unsigned long long>(bytes));
  };
  const auto sent = co_await weir::send_file(*file, STDOUT_FILENO, 0, weir::to_the_end, options);

  for (const auto route : {weir::transfer_route::buffered, weir::transfer_route::sendfile,
                           weir::transfer_route::splice, weir::transfer_route::copy_file_range,
                           weir::transfer_route::reflink}) {
    if (sent.routes.has(route)) std::fprintf(stderr, ", %s", name_of(route));
  }
  std::fprintf(stderr, "\n");
  co_return sent ? 0 : failed("standard output", sent.error);
}

}  // namespace

int main(int argument_count, char** arguments) {
  if (argument_count != 2) return 2;
  auto driver = weir::open_driver();
  if (!driver) return failed("no driver", driver.error());
  weir::io_context context(std::move(*driver));
  return context.run(send(context, arguments[1]));
}
