// The log, on real files:
//
//     append_log DIRECTORY < LINES     appends each line, as a record
//     append_log DIRECTORY --print     prints every record, as a line
#include <iostream>
#include <string_view>

#include "log.hpp"

namespace {

using append_log::log;
using weir::result;
using weir::task;

constexpr std::size_t at_once = 64;

/// The next lines of the input; none at its end.
std::vector<std::string> read_lines() {
  std::vector<std::string> lines;
  for (std::string line; lines.size() < at_once && std::getline(std::cin, line);) {
    lines.push_back(std::move(line));
  }
  return lines;
}

task<std::uint64_t> append_input(log& to) {
  std::uint64_t count = 0;
  for (auto lines = read_lines(); !lines.empty(); lines = read_lines()) {
    std::vector<task<result<std::uint64_t>>> appends;
    for (const std::string& line : lines)
      appends.push_back(to.append(std::as_bytes(std::span(line))));
    for (const auto& appended : co_await weir::when_all(std::move(appends))) {
      if (!appended) throw std::system_error(appended.error(), "append");
      ++count;
    }
  }
  co_return count;
}

void print(const append_log::record& each) {
  // Bytes are characters here: they came in as such.
  std::cout << std::string_view(reinterpret_cast<const char*>(each.bytes.data()), each.bytes.size())
            << '\n';
}

task<void> run(weir::io_context& context, std::string directory, bool prints) {
  std::uint64_t found = 0;
  auto opened = co_await log::open(context, directory, [&](const append_log::record& each) {
    ++found;
    if (prints) print(each);
  });
  if (!opened) throw std::system_error(opened.error(), directory);
  log& records = **opened;
  if (!prints) {
    const std::uint64_t count = co_await append_input(records);
    std::cout << found << " records were there; " << count << " are durable now, in "
              << records.groups() << " groups\n";
  }
  const result<void> closed = co_await records.close();
  if (!closed) throw std::system_error(closed.error(), "close");
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string_view> arguments(argv + 1, argv + argc);
  const bool prints = arguments.size() == 2 && arguments[1] == "--print";
  if (arguments.size() != 1 && !prints) {
    std::cerr << "usage: append_log DIRECTORY [--print]\n";
    return 2;
  }
  try {
    auto driver = weir::open_driver();
    if (!driver) throw std::system_error(driver.error(), "weir");
    weir::io_context context(*std::move(driver));
    context.run(run(context, std::string(arguments[0]), prints));
  } catch (const std::exception& failure) {
    std::cerr << "append_log: " << failure.what() << '\n';
    return 1;
  }
}
