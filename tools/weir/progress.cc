#include "progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

#include "formatted.hpp"

namespace weir::tools {
namespace {

constexpr std::chrono::milliseconds between_draws{100};

std::size_t terminal_width() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

std::string clock_time(double seconds) {
  const long whole = std::lround(seconds);
  if (whole < 3600) return formatted("%ld:%02ld", whole / 60, whole % 60);
  return formatted("%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string bar(double fraction, std::size_t width) {
  const auto full = static_cast<std::size_t>(fraction * static_cast<double>(width));
  return "[" + std::string(full, '#') + std::string(width - full, '.') + "]";
}

}  // namespace

progress::progress() : shown_(::isatty(STDERR_FILENO) == 1) {}

void progress::expect(std::size_t files, std::uint64_t bytes, bool complete) noexcept {
  files_expected_ = files;
  bytes_expected_ = bytes;
  all_known_ = complete;
}

void progress::add_bytes(std::uint64_t count) noexcept {
  bytes_ += count;
  draw_if_due();
}

void progress::add_file() noexcept {
  ++files_;
  draw_if_due();
}

void progress::clear() noexcept {
  if (!on_screen_) return;
  std::fputs("\r\033[K", stderr);
  on_screen_ = false;
}

void progress::draw_if_due() noexcept {
  if (!shown_ || until_look_-- != 0) return;
  until_look_ = 8;
  const auto now = clock::now();
  if (now - drawn_ < between_draws) return;
  drawn_ = now;
  draw(now);
}

// While the tree is still being walked nobody knows the end: then only what has been done is shown.
void progress::draw(clock::time_point now) noexcept {
  const double seconds = std::chrono::duration<double>(now - started_).count();
  const double rate = static_cast<double>(bytes_) / seconds;
  std::string text = " " + std::to_string(files_) + " files, " +
                     human_bytes(static_cast<double>(bytes_)) + ", " + human_bytes(rate) + "/s";
  if (all_known_ && bytes_expected_ != 0) {
    const double done =
        std::min(1.0, static_cast<double>(bytes_) / static_cast<double>(bytes_expected_));
    const double left = rate > 0 ? static_cast<double>(bytes_expected_) * (1 - done) / rate : 0;
    text = " " + std::to_string(files_) + "/" + std::to_string(files_expected_) + " files, " +
           human_bytes(rate) + "/s, " + clock_time(left) + " left";
    const std::size_t width = terminal_width();
    if (width > text.size() + 20) {
      const std::string percent = formatted("%4.0f%%", done * 100);
      text = bar(done, std::min<std::size_t>(40, width - text.size() - 10)) + percent + text;
    }
  }
  std::fprintf(stderr, "\r%.*s\033[K", static_cast<int>(terminal_width() - 1), text.c_str());
  std::fflush(stderr);
  on_screen_ = true;
}

}  // namespace weir::tools
