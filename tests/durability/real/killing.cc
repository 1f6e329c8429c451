#include "durability/real/killing.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <random>
#include <thread>

#include "support/support.hpp"

namespace weir::real_disks {
namespace {

using scenarios::promise_book;
using scenarios::surroundings;
using scenarios::survives;

/// What the process says through a pipe, which outlives it; whole, since it is short (PIPE_BUF).
struct message {
  enum class kind : std::uint8_t { promise, done, failed };

  kind what;
  std::array<char, 55> text;  // a promise's subject, or why it failed
  std::uint64_t version;
};

message make_message(message::kind what, std::string_view text, std::uint64_t version) {
  message made{.what = what, .text = {}, .version = version};
  // The last byte stays 0.
  std::ranges::copy(text.substr(0, made.text.size() - 1), made.text.begin());
  return made;
}

// Whoever cannot tell is not believed: the process ends.
void tell(int pipe, const message& what) {
  if (::write(pipe, &what, sizeof what) != static_cast<ssize_t>(sizeof what)) ::_exit(1);
}

std::optional<message> heard(int pipe) {
  message came{};
  ssize_t count = 0;
  do {
    count = ::read(pipe, &came, sizeof came);
  } while (count < 0 && errno == EINTR);
  return count == static_cast<ssize_t>(sizeof came) ? std::optional(came) : std::nullopt;
}

/// Both what must outlive a power loss and what need not outlives this.
class telling_promises : public scenarios::promises {
 public:
  explicit telling_promises(int pipe) noexcept : pipe_(pipe) {}
  void promise(std::string_view subject, std::uint64_t version, survives) override {
    tell(pipe_, make_message(message::kind::promise, subject, version));
  }

 private:
  int pipe_;
};

surroundings make_surroundings(io_context& context, const std::string& directory,
                               std::string_view driver, std::uint64_t seed, unsigned rounds) {
  return {.context = context,
          .directory = directory,
          .seed = seed,
          .rounds = rounds,
          .another_driver = [driver] { return testing::open_driver_named(driver); }};
}

/// Waits to be killed at the end, so that there is one way to end.
[[noreturn]] void be_killed(std::string_view driver, const scenarios::scenario& tested,
                            const std::string& directory, std::uint64_t seed, unsigned rounds,
                            int pipe) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const auto context = testing::open_context(driver);
  telling_promises told(pipe);
  const surroundings where = make_surroundings(*context, directory, driver, seed, rounds);
  const result<void> done = context->run(tested.run(where, told));
  tell(pipe, done ? make_message(message::kind::done, "", 0)
                  : make_message(message::kind::failed, done.error().message(), 0));
  for (;;) ::pause();
}

void note(const message& came, promise_book& kept, killing_outcome& outcome) {
  switch (came.what) {
    case message::kind::promise:
      kept.add(came.text.data(), came.version);
      ++outcome.promises;
      break;
    case message::kind::done:
      outcome.was_done = true;
      break;
    case message::kind::failed:
      outcome.error = came.text.data();
      break;
  }
}

// A moment of up to a millisecond, in which it gets some way further, or nowhere: all is right.
void let_pass_a_moment(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::this_thread::sleep_for(std::chrono::microseconds(random() % 1000));
}

void kill_and_wait(pid_t child) {
  ::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) continue;
}

}  // namespace

killing_outcome run_and_kill(std::string_view driver, const scenarios::scenario& tested,
                             std::uint64_t seed, unsigned rounds, std::size_t promises) {
  killing_outcome outcome;
  const testing::temp_directory directory;
  testing::pipe_ends said = testing::make_pipe(O_CLOEXEC);
  const pid_t child = ::fork();
  if (child < 0) return {.error = std::strerror(errno)};
  if (child == 0) {
    be_killed(driver, tested, directory.path(), seed, rounds, said.write.get());
  }
  said.write.reset();
  promise_book kept;
  while (outcome.promises < promises && !outcome.was_done && outcome.error.empty()) {
    const std::optional<message> came = heard(said.read.get());
    if (!came) break;
    note(*came, kept, outcome);
  }
  if (!outcome.was_done) let_pass_a_moment(seed);
  kill_and_wait(child);
  while (const std::optional<message> came = heard(said.read.get())) note(*came, kept, outcome);
  const auto context = testing::open_context("sync");
  const surroundings where = make_surroundings(*context, directory.path(), "sync", seed, rounds);
  outcome.violations = context->run(tested.check(where, kept));
  return outcome;
}

}  // namespace weir::real_disks
