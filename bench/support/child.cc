// A contestant in a process of its own, told by a pipe how many operations to do, and answering
// with the seconds that they took.

#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <string>

#include "support/contestant.hpp"
#include "support/fail.hpp"

namespace weir::bench {
namespace {

using maker = std::function<std::function<void(std::uint64_t)>()>;

template <class T>
bool receive(int from, T& value) noexcept {
  return ::read(from, &value, sizeof value) == static_cast<ssize_t>(sizeof value);
}

template <class T>
bool send(int to, const T& value) noexcept {
  return ::write(to, &value, sizeof value) == static_cast<ssize_t>(sizeof value);
}

class child_process {
 public:
  child_process(timed_by by, const maker& make);
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;
  ~child_process();

  double seconds_for(std::uint64_t operations);

 private:
  [[noreturn]] static void serve(timed_by by, const maker& make, int orders, int answers) noexcept;

  pid_t process_;
  int orders_;
  int answers_;
};

child_process::child_process(timed_by by, const maker& make) {
  std::array<int, 2> orders{};
  std::array<int, 2> answers{};
  checked("pipe", ::pipe(orders.data()));
  checked("pipe", ::pipe(answers.data()));
  process_ = checked("fork", ::fork());
  if (process_ == 0) {
    ::close(orders[1]);
    ::close(answers[0]);
    serve(by, make, orders[0], answers[1]);
  }
  ::close(orders[0]);
  ::close(answers[1]);
  orders_ = orders[1];
  answers_ = answers[0];
}

child_process::~child_process() {
  ::close(orders_);
  ::close(answers_);
  // A later child has inherited the pipe's other end, so closing it need not reach this one.
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
}

void child_process::serve(timed_by by, const maker& make, int orders, int answers) noexcept {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    const auto work = make();
    std::uint64_t operations = 0;
    while (receive(orders, operations)) {
      const double began = seconds_now(by);
      work(operations);
      if (!send(answers, seconds_now(by) - began)) break;
    }
    ::_exit(0);  // nothing of the parent's is ended here
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    ::_exit(1);
  }
}

double child_process::seconds_for(std::uint64_t operations) {
  double seconds = 0;
  if (!send(orders_, operations) || !receive(answers_, seconds)) {
    fail("a contestant's process has ended", ECHILD);
  }
  return seconds;
}

}  // namespace

contestant in_child(std::string name, timed_by by, const maker& make, preparation before) {
  auto child = std::make_shared<child_process>(by, make);
  return {.name = std::move(name),
          .seconds_for = [child, before = std::move(before)](std::uint64_t operations) {
            if (before) before();
            return child->seconds_for(operations);
          }};
}

}  // namespace weir::bench
