#include "metrics_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <span>
#include <system_error>
#include <utility>

#include "weir/weir.hpp"

namespace weir::tools {
namespace {

constexpr std::chrono::seconds interval{5};

std::pair<std::string, std::string> split(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {path.substr(0, slash + 1), path.substr(slash + 1)};
}

}  // namespace

metrics_file::metrics_file(const std::string& path) : path_(path), name_(split(path).second) {
  constexpr int how = O_PATH | O_DIRECTORY | O_CLOEXEC;
  directory_ = ::open(split(path).first.c_str(), how);
  if (directory_ < 0) throw std::system_error(errno, std::system_category(), "'" + path + "'");
}

metrics_file::~metrics_file() { ::close(directory_); }

task<> metrics_file::keep_up(io_context& context, const daemon_server& server,
                             std::stop_token over) {
  bool goes_on = true;
  while (goes_on) {
    goes_on = (co_await with_stop(context.sleep_for(interval), over)).has_value();
    const result<void> written = co_await write(context, server.metrics());
    if (!written && !failed_) {
      std::fprintf(stderr, "weir serve: '%s': %s\n", path_.c_str(),
                   written.error().message().c_str());
    }
    failed_ = !written;
  }
}

task<result<void>> metrics_file::write(io_context& context, const std::string& text) const {
  const std::string beside = "." + name_ + ".new";
  const open_options how{.read = false,
                         .write = true,
                         .create = true,
                         .truncate = true,
                         .mode = 0644,
                         .directory = directory_};
  auto file = co_await open(context, beside, how);
  if (!file) co_return std::unexpected(file.error());
  const auto written = co_await file->write_all_at(std::as_bytes(std::span(text)), 0);
  const auto closed = co_await file->close();
  if (!written) co_return std::unexpected(written.error());
  if (!closed) co_return std::unexpected(closed.error());
  const rename_options within{.from_directory = directory_, .to_directory = directory_};
  co_return co_await rename(context, beside, name_, within);
}

}  // namespace weir::tools
