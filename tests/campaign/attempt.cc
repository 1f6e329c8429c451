// Both sides of a try: who starts the process and watches it, and what the process does.

#include "campaign/attempt.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

#include "campaign/resources.hpp"
#include "campaign/trial.hpp"
#include "campaign/words.hpp"
#include "campaign/workload.hpp"
#include "support/support.hpp"

namespace weir::campaign {
namespace {

// Only a failure reaches it: a try takes a second at most.
constexpr int generous_limit_ms =
    1000 * (testing::thread_sanitizer || testing::address_sanitizer ? 120 : 60);

constexpr std::string_view child_word = "--try";

[[noreturn]] void fail(const char* call) {
  throw std::system_error(errno, std::system_category(), call);
}

testing::descriptor make_memory_file(const char* name) {
  testing::descriptor made(static_cast<int>(::syscall(SYS_memfd_create, name, MFD_CLOEXEC)));
  if (!made) fail("memfd_create");
  return made;
}

/// An account in shared memory.
class shared_account {
 public:
  explicit shared_account(int fd)
      : memory_(::mmap(nullptr, sizeof(account), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) {
    if (memory_ == MAP_FAILED) fail("mmap");
  }
  shared_account(const shared_account&) = delete;
  shared_account& operator=(const shared_account&) = delete;
  ~shared_account() { ::munmap(memory_, sizeof(account)); }

  account& get() const noexcept { return *static_cast<account*>(memory_); }

 private:
  void* memory_;
};

std::string all_of(int fd) {
  std::string text(4096, '\0');
  const auto count = ::pread(fd, text.data(), text.size(), 0);
  text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return text;
}

// --- who watches ---------------------------------------------------------------------------------

[[noreturn]] void become_child(const std::vector<std::string>& arguments, int output,
                               int shared) noexcept {
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::fcntl(shared, F_SETFD, 0);
  std::vector<char*> pointers;
  for (const std::string& each : arguments) pointers.push_back(const_cast<char*>(each.c_str()));
  pointers.push_back(nullptr);
  ::execv("/proc/self/exe", pointers.data());
  ::_exit(127);
}

/// Waits for the child's end; true if it had to be brought about.
bool wait_or_kill(pid_t child, int& status) {
  const testing::descriptor ends(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  if (!ends) fail("pidfd_open");
  const bool hangs = !testing::readable(ends.get(), generous_limit_ms);
  if (hangs) ::kill(child, SIGKILL);
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) fail("waitpid");
  }
  return hangs;
}

std::string end_of(int status) {
  if (WIFSIGNALED(status)) return in_words("it was ended by signal ", WTERMSIG(status), "\n");
  return in_words("it exited with ", WEXITSTATUS(status), "\n");
}

std::unique_ptr<account> copy_of(const account& shared) {
  auto copied = std::make_unique<account>();
  std::memcpy(static_cast<void*>(copied.get()), &shared, sizeof shared);
  return copied;
}

}  // namespace

attempt make_attempt(const fault& what, std::string_view driver, unsigned number,
                     std::uint64_t seed, bool in_full) {
  const testing::descriptor shared = make_memory_file("account");
  const testing::descriptor output = make_memory_file("output");
  if (::ftruncate(shared.get(), sizeof(account)) != 0) fail("ftruncate");
  const shared_account told(shared.get());
  const testing::temp_directory directory;

  const std::vector<std::string> arguments{"campaign",
                                           std::string(child_word),
                                           std::string(what.name),
                                           std::string(driver),
                                           std::to_string(number),
                                           std::to_string(seed),
                                           in_full ? "long" : "short",
                                           std::to_string(shared.get()),
                                           directory.path()};
  const pid_t child = ::fork();
  if (child < 0) fail("fork");
  if (child == 0) become_child(arguments, output.get(), shared.get());
  int status = 0;
  const bool hung = wait_or_kill(child, status);

  attempt made{.said = copy_of(told.get()), .output = all_of(output.get())};
  if (hung) {
    made.how = ending::hung;
  } else if (status != 0 || !made.said->ended) {
    made.how = ending::crashed;
    made.output += end_of(status);
  } else if (made.said->skipped) {
    made.how = ending::skipped;
  }
  return made;
}

// --- the child -----------------------------------------------------------------------------------

namespace {

const fault& find_fault(std::string_view name) {
  for (const fault* each : all_faults()) {
    if (each->name == name) return *each;
  }
  throw std::runtime_error("there is no such fault");
}

// What is made once and kept, by this program or by a library, is made before anything is counted.
void warm_up(trial& now) {
  std::thread([] {}).join();  // with the first, a thread sanitizer starts one of its own
  const auto context = now.open_context();
  const std::string path = now.directory() + "/warm";
  workload(now, *context, {.path = path}).run(100);
  ::unlink(path.c_str());
}

void strike(trial& now, const fault& what, account& tells) {
  try {
    warm_up(now);
    const resources before = resources::of_this_process();
    what.strike(now);
    check_for_leaks(now, before);
  } catch (const unavailable& why) {
    tells.skipped = true;
    tells.remark(why.what());
  } catch (const std::exception& thrown) {
    now.odd(std::string("it threw: ") + thrown.what());
  }
}

}  // namespace

bool is_child(std::span<char* const> arguments) {
  return arguments.size() == 9 && arguments[1] == child_word;
}

int be_child(std::span<char* const> arguments) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const fault& what = find_fault(arguments[2]);
  const trial_options which{.what = &what,
                            .driver = arguments[3],
                            .number = static_cast<unsigned>(std::stoul(arguments[4])),
                            .seed = std::stoull(arguments[5]),
                            .in_full = std::string_view(arguments[6]) == "long",
                            .directory = arguments[8]};
  const testing::descriptor fd(std::stoi(arguments[7]));
  const shared_account told(fd.get());
  trial now(which, told.get());
  strike(now, what, told.get());
  told.get().ended = true;
  return 0;
}

}  // namespace weir::campaign
