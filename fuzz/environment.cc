// What a service manager, or whoever starts a daemon, may have put into the environment: three
// texts with a NUL between them, for LISTEN_FDS, NOTIFY_SOCKET and the daemon's name.

#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/life/activation.hpp"
#include "daemon/life/notification.hpp"
#include "support/promise.hpp"
#include "support/texts.hpp"
#include "support/variable.hpp"
#include "weir/daemon.hpp"

namespace {

using weir::fuzzing::next_text;
using weir::fuzzing::promise;
using weir::fuzzing::variable;

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
