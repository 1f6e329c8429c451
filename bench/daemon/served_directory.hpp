#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

namespace weir::bench {

/// A directory with files, and a daemon that serves it, both gone when this goes.
class served_directory {
 public:
  explicit served_directory(const std::vector<const char*>& options = {});
  served_directory(const served_directory&) = delete;
  served_directory& operator=(const served_directory&) = delete;
  ~served_directory();

  /// A file full of bytes, in the page cache; its path.
  std::string add_file(const std::string& name, std::size_t size) const;

  const std::string& socket() const noexcept { return socket_; }
  /// A new connection.
  int connect() const;
  /// Its resident memory, in bytes.
  std::size_t memory() const;

 private:
  std::string directory_;
  std::string socket_;
  pid_t process_ = 0;
};

}  // namespace weir::bench
