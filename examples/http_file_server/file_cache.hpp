#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "conditions.hpp"
#include "event_loop.hpp"

namespace http_file_server {

/// An open regular file, and what is said about it in every response.
struct served_file {
  weir::file file;
  weir::file_status status;
  std::string etag;
  std::string last_modified;
  std::string fields;   ///< Content-Type, ETag, …: whatever part of it is sent
  std::string ok_head;  ///< the head of a response with all of it, up to the date

  validators current() const noexcept {
    return {.etag = etag,
            .modified = static_cast<std::time_t>(status.modified_ns / 1'000'000'000),
            .last_modified = last_modified};
  }
};

using file_pointer = std::shared_ptr<served_file>;

struct file_cache_options {
  int root = -1;  ///< an open directory, borrowed: paths are resolved beneath it
  std::size_t capacity = 0;
  std::chrono::milliseconds revalidate{0};
};

/// Files of a directory tree that are open already, the least recently used of which are closed.
/// After a while a path is looked up anew, so that a file that has taken its place is noticed. For
/// one thread. A file that is being sent stays open until it has been.
class file_cache {
 public:
  file_cache(event_loop& loop, const file_cache_options& settings) noexcept
      : loop_(loop), settings_(settings) {}

  /// What is open, if it has been looked up lately; else null.
  file_pointer find(std::string_view path) noexcept;
  /// Looks `path` up. Errors: those of openat2(2), EXDEV for a path that leads out of the tree;
  /// EISDIR for a directory; EACCES for what is neither file nor directory.
  weir::task<weir::result<file_pointer>> open(std::string path);

 private:
  struct entry {
    std::string path;
    file_pointer file;
    loop_clock::time_point looked_up;
  };

  file_pointer keep(std::string path, weir::file opened, const weir::file_status& status);

  event_loop& loop_;
  file_cache_options settings_;
  std::list<entry> entries_;  // the most recently used first
  std::unordered_map<std::string_view, std::list<entry>::iterator> by_path_;
};

/// How every path of a client's is opened: beneath `root`, waiting for nobody.
weir::open_options beneath(int root) noexcept;

}  // namespace http_file_server
