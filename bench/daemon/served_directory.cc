#include "daemon/served_directory.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <vector>

#include "support/fail.hpp"
#include "support/scratch_file.hpp"
#include "weir/weir.h"

namespace weir::bench {

served_directory::served_directory(const std::vector<const char*>& options)
    : directory_(scratch_directory() + "/weir-bench-XXXXXX") {
  if (::mkdtemp(directory_.data()) == nullptr) fail(directory_);
  socket_ = directory_ + "/daemon.socket";
  std::vector<const char*> others(options);
  others.push_back(nullptr);
  const weir_daemon_options how{.size = sizeof how,
                                .program = WEIR_COMMAND,
                                .root = directory_.c_str(),
                                .socket_path = socket_.c_str(),
                                .max_transfers = 1U << 20,
                                .others = others.data()};
  checked("weir serve", ::weir_daemon_spawn(&how, &process_));
}

served_directory::~served_directory() {
  ::weir_daemon_shutdown(process_);
  std::error_code ignored;  // nothing depends on it
  std::filesystem::remove_all(directory_, ignored);
}

std::string served_directory::add_file(const std::string& name, std::size_t size) const {
  const std::string path = directory_ + "/" + name;
  const int fd = checked("open", ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  const std::vector<char> bytes(std::min<std::size_t>(size, 1 << 20), 'x');
  for (std::size_t left = size; left > 0;) {
    const std::size_t piece = std::min(left, bytes.size());
    expect_whole("write", ::write(fd, bytes.data(), piece), piece);
    left -= piece;
  }
  checked("fsync", ::fsync(fd));
  ::close(fd);
  return path;
}

int served_directory::connect() const {
  return checked("weir_connect", ::weir_connect(socket_.c_str()));
}

std::size_t served_directory::memory() const {
  std::size_t all = 0;
  std::size_t resident = 0;
  std::ifstream("/proc/" + std::to_string(process_) + "/statm") >> all >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace weir::bench
