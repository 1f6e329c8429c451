// What a service manager, or whoever starts a daemon, may have put into the environment: three
// texts with a NUL between them, for LISTEN_FDS, NOTIFY_SOCKET and the daemon's name.

#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "daemon/life/activation.hpp"
#include "daemon/life/notification.hpp"
#include "support/promise.hpp"
#include "weir/daemon.hpp"

namespace {

using weir::fuzzing::promise;

/// A variable of the environment, in memory of its own: setenv(3) never frees what it was given.
class variable {
 public:
  explicit variable(std::string_view name) : name_(std::string(name) + '=') {}

  void set(std::string_view value) {
    const std::string text = name_ + std::string(value.substr(0, text_.size() - name_.size() - 1));
    std::memcpy(text_.data(), text.c_str(), text.size() + 1);
    promise(::putenv(text_.data()) == 0);
  }

 private:
  std::string name_;
  std::array<char, 4096> text_{};
};

std::string_view next_text(std::string_view& texts) {
  const std::size_t end = std::min(texts.find('\0'), texts.size());
  const std::string_view text = texts.substr(0, end);
  texts.remove_prefix(std::min(end + 1, texts.size()));
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static variable process("LISTEN_PID");
  static variable passed("LISTEN_FDS");
  static variable manager("NOTIFY_SOCKET");
  std::string_view texts(reinterpret_cast<const char*>(data), size);
  process.set(std::to_string(::getpid()));
  passed.set(next_text(texts));
  // No socket was passed to a fuzzer.
  const auto socket = weir::life::activated_socket();
  promise(!socket || !*socket);
  promise(socket.has_value() || !socket.error().sentence.empty());

  manager.set(next_text(texts));
  weir::life::notification notified;
  const auto opened = notified.open();
  promise(opened.has_value() || !opened.error().sentence.empty());

  const auto path = weir::daemon_socket_path(next_text(texts));
  promise(!path || (!path->empty() && path->size() < sizeof(sockaddr_un::sun_path)));
  return 0;
}
