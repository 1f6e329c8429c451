#include "temporary_file.hpp"

#include <fcntl.h>
#include <signal.h>

#include <cstdlib>

namespace weir::tools {
namespace {

/// No signal is delivered while it lives.
class signals_held {
 public:
  signals_held() noexcept {
    sigset_t every;
    sigfillset(&every);
    ::pthread_sigmask(SIG_SETMASK, &every, &before_);
  }
  signals_held(const signals_held&) = delete;
  signals_held& operator=(const signals_held&) = delete;
  ~signals_held() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

}  // namespace

descriptor open_unnamed(const std::string& directory, int flags) noexcept {
  return descriptor(
      ::open(directory.c_str(), O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC | flags, 0600));
}

// Signals are held while it has a name, so that Ctrl-C does not leave it behind. Opened a second
// time for the flags, since a refused O_DIRECT leaves the file that O_CREAT has made.
descriptor open_briefly_named(const std::string& directory, int flags) {
  std::string name = directory + "/.weir-XXXXXX";
  const signals_held held;
  descriptor created(::mkostemp(name.data(), O_CLOEXEC));
  if (!created) return created;
  descriptor opened(::open(name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags));
  ::unlink(name.c_str());
  return opened;
}

}  // namespace weir::tools
