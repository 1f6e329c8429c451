#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>

namespace weir::bench {

enum class link_kind { tcp, unix_stream, pipe };

/// A connection to a process of its own, which reads all that comes and throws it away.
class receiver {
 public:
  explicit receiver(link_kind kind);
  receiver(const receiver&) = delete;
  receiver& operator=(const receiver&) = delete;
  ~receiver();

  /// What is to be written to.
  int fd() const noexcept { return fd_; }
  void set_nonblocking() const;

  /// Has `send` write so many bytes; returns when the other side has read them.
  struct outcome {
    double seconds = 0;         ///< from the first byte's sending to the last one's arrival
    double sender_seconds = 0;  ///< of processor time, of this whole process
    double receiver_seconds = 0;
  };
  outcome carry(std::uint64_t bytes, const std::function<void(int fd)>& send) const;

 private:
  pid_t process_;
  int fd_;
  int orders_;
  int answers_;
};

}  // namespace weir::bench
