#include "support/daemon.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <system_error>

#include "support/support.hpp"

namespace weir::testing {
namespace {

class test_daemon {
 public:
  test_daemon();
  test_daemon(const test_daemon&) = delete;
  test_daemon& operator=(const test_daemon&) = delete;
  ~test_daemon();

  const std::string& socket() const noexcept { return socket_; }

 private:
  [[noreturn]] void serve(int says_ready) const;

  temp_directory directory_;
  std::string socket_ = directory_ / "socket";
  pid_t owner_ = ::getpid();
  pid_t child_ = -1;
};

// It says a line when it accepts; where it cannot, it says why on standard error and ends.
test_daemon::test_daemon() {
  std::array<int, 2> says{};
  if (::pipe2(says.data(), O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::system_category(), "pipe2");
  }
  child_ = ::fork();
  if (child_ == 0) serve(says[1]);
  ::close(says[1]);
  char first = 0;
  ssize_t count = 0;
  do {
    count = ::read(says[0], &first, 1);
  } while (count < 0 && errno == EINTR);
  ::close(says[0]);
  if (count != 1) throw std::runtime_error("no daemon could be started: " WEIR_COMMAND " serve");
}

void test_daemon::serve(int says_ready) const {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != owner_) ::_exit(1);
  ::dup2(says_ready, STDOUT_FILENO);
  // Sanitizers look into the process from outside, as debuggers do.
  const char* const more = address_sanitizer || thread_sanitizer ? "--unconfined" : nullptr;
  ::execl(WEIR_COMMAND, WEIR_COMMAND, "serve", "--root", "/", "--allow-write", "--socket",
          socket_.c_str(), more, nullptr);
  ::_exit(1);
}

// Not in a forked child of the tests.
test_daemon::~test_daemon() {
  if (child_ <= 0 || ::getpid() != owner_) return;
  ::kill(child_, SIGTERM);
  int status = 0;
  while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) continue;
}

}  // namespace

const std::string& socket_of_test_daemon() {
  static const test_daemon instance;
  return instance.socket();
}

}  // namespace weir::testing
