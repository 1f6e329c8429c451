#pragma once

#include <ctime>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "event_loop.hpp"
#include "file_cache.hpp"
#include "http_date.hpp"
#include "options.hpp"

namespace http_file_server {

/// Memory for file contents on their way. The block that was given back last is taken first, since
/// the processor's cache still has it. A connection has one while it reads, and none while it waits
/// for its client; so there are as many as wait for a disk at once, and a few are kept.
class block_stack {
 public:
  static constexpr std::size_t block_size = std::size_t{128} << 10;

  weir::buffer take() {
    if (free_.empty()) return weir::buffer(block_size);
    weir::buffer last = std::move(free_.back());
    free_.pop_back();
    return last;
  }
  void give_back(weir::buffer block) {
    if (free_.size() < kept) free_.push_back(std::move(block));
  }

 private:
  static constexpr std::size_t kept = 64;

  std::vector<weir::buffer> free_;
};

/// The field that says when a response was made, written once a second.
class date_line {
 public:
  std::string_view text() {
    const std::time_t now = std::time(nullptr);
    if (now != written_) {
      text_ = "Date: " + http_date(now) + "\r\n";
      written_ = now;
    }
    return text_;
  }

 private:
  std::time_t written_ = -1;
  std::string text_;
};

/// What the connections of one thread share.
struct site {
  const options& settings;
  int root;  ///< the served directory
  event_loop& loop;
  file_cache files;
  block_stack blocks;
  date_line date;
  std::size_t connections = 0;  ///< that are open
  bool ending = false;          ///< no request is answered but those that have begun
};

}  // namespace http_file_server
