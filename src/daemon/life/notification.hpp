#pragma once

#include <string_view>

#include "daemon/life/outcome.hpp"

namespace weir::life {

/// What systemd, or whoever started the daemon and set NOTIFY_SOCKET, hears of it: sd_notify(3). A
/// datagram a time; the socket is opened once, while it can still be reached.
class notification {
 public:
  notification() noexcept = default;
  notification(const notification&) = delete;
  notification& operator=(const notification&) = delete;
  ~notification();

  /// Finds the socket in the environment. Nobody wants to hear anything where there is none.
  outcome<> open();

  /// "READY=1", "STOPPING=1". What cannot be sent is not worth a daemon's end.
  void tell(std::string_view state) const noexcept;

 private:
  int socket_ = -1;
};

}  // namespace weir::life
