// The first crash test of docs/simulation.md: a program that keeps a number in a file, and a power
// failure after each of its operations.
#include <iostream>
#include <string>

#include <weir/simulated.hpp>
#include <weir/weir.hpp>

namespace {

struct notes {
  std::string promised;  // the last that was acknowledged
};

// Looks right, and is right for as long as the power does not fail.
weir::task<bool> save(weir::io_context& context, std::string number) {
  auto file = co_await weir::open(context, "/new", {.write = true, .create = true});
  if (!file) co_return false;
  const auto written = co_await file->write_all_at(std::as_bytes(std::span(number)), 0);
  const auto closed = co_await file->close();
  const auto renamed = co_await weir::rename(context, "/new", "/number");
  co_return written&& closed&& renamed;
}

// The same as it should be.
weir::task<bool> save_durably(weir::io_context& context, std::string number) {
  const auto saved =
      co_await weir::replace_file(context, "/number", std::as_bytes(std::span(number)));
  co_return saved.has_value();
}

template <class Save>
weir::exploration crash(Save save_number) {
  const auto scenario = [=](weir::simulation with, notes& noted) -> weir::task<void> {
    for (const char* number : {"1", "2"}) {
      if (!co_await save_number(with.context, number)) co_return;  // the power has failed
      noted.promised = number;
    }
  };
  const auto check = [](weir::simulation with, const notes& noted) -> weir::task<std::string> {
    std::string found(1, '-');
    auto file = co_await weir::open(with.context, "/number");
    if (file) {
      const auto read = co_await file->read_exactly_at(std::as_writable_bytes(std::span(found)), 0);
      if (!read) co_return "there is no number in the file";
    }
    // One that was under way may be there, but none older than what was acknowledged.
    co_return found < noted.promised ? noted.promised + " was saved, and now there is " + found
                                     : "";
  };
  return weir::explore<notes>({.first = 1, .count = 200}, scenario, check);
}

}  // namespace

int main() {
  const weir::exploration wrong = crash(save);
  const weir::exploration right = crash(save_durably);
  std::cout << wrong.report() << '\n' << right.report();
  return !wrong.survived() && right.survived() ? 0 : 1;
}
