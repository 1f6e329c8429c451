#include "file_cache.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "http_date.hpp"
#include "media_type.hpp"
#include "response.hpp"

namespace http_file_server {
namespace {

std::unexpected<std::error_code> failure(int error) noexcept {
  return std::unexpected(std::error_code(error, std::system_category()));
}

bool same_content(const weir::file_status& a, const weir::file_status& b) noexcept {
  return a.device == b.device && a.inode == b.inode && a.size == b.size &&
         a.modified_ns == b.modified_ns;
}

// A file that changes twice within its clock's tick keeps its tag; nanoseconds make that rare.
std::string etag_of(const weir::file_status& status) {
  const auto time = static_cast<std::uint64_t>(status.modified_ns);
  return '"' + hexadecimal(status.size) + '-' + hexadecimal(time) + '"';
}

file_pointer described(std::string_view path, weir::file opened, const weir::file_status& status) {
  auto made = std::make_shared<served_file>();
  made->file = std::move(opened);
  made->status = status;
  made->etag = etag_of(status);
  made->last_modified = http_date(made->current().modified);
  append(made->fields, "Content-Type: ", media_type(path),
         "\r\nLast-Modified: ", made->last_modified, "\r\nETag: ", made->etag,
         "\r\nAccept-Ranges: bytes\r\n");
  append(made->ok_head, status_line(200), made->fields,
         "Content-Length: ", std::to_string(status.size), "\r\n");
  return made;
}

weir::result<void> servable(const weir::file_status& status) noexcept {
  if (S_ISDIR(status.mode)) return failure(EISDIR);
  if (!S_ISREG(status.mode)) return failure(EACCES);
  return {};
}

}  // namespace

weir::open_options beneath(int root) noexcept {
  return {.nonblock = true,
          .resolve = weir::resolve::beneath | weir::resolve::no_magiclinks,
          .directory = root};
}

file_pointer file_cache::find(std::string_view path) noexcept {
  const auto found = by_path_.find(path);
  if (found == by_path_.end()) return nullptr;
  const auto position = found->second;
  if (loop_.now() - position->looked_up > settings_.revalidate) return nullptr;
  entries_.splice(entries_.begin(), entries_, position);
  return position->file;
}

weir::task<weir::result<file_pointer>> file_cache::open(std::string path) {
  auto opened = co_await weir::open(loop_.context(), path, beneath(settings_.root));
  if (!opened) co_return std::unexpected(opened.error());
  const auto status = co_await opened->stat();
  if (!status) co_return std::unexpected(status.error());
  if (auto right = servable(*status); !right) co_return std::unexpected(right.error());
  co_return keep(std::move(path), std::move(*opened), *status);
}

// Where nothing has changed the file that is open already goes on: weir has learnt about it.
file_pointer file_cache::keep(std::string path, weir::file opened,
                              const weir::file_status& status) {
  if (const auto found = by_path_.find(path); found != by_path_.end()) {
    entry& known = *found->second;
    known.looked_up = loop_.now();
    entries_.splice(entries_.begin(), entries_, found->second);
    if (!same_content(known.file->status, status)) {
      known.file = described(path, std::move(opened), status);
    }
    return known.file;
  }
  auto file = described(path, std::move(opened), status);
  if (settings_.capacity == 0) return file;
  if (entries_.size() >= settings_.capacity) {
    by_path_.erase(entries_.back().path);
    entries_.pop_back();
  }
  entries_.push_front({.path = std::move(path), .file = file, .looked_up = loop_.now()});
  by_path_.emplace(entries_.front().path, entries_.begin());
  return file;
}

}  // namespace http_file_server
