#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace weir::tools {

/// A line on standard error that shows how far a copy has come: a bar, the rate, the time left.
/// Shows nothing where standard error is no terminal.
class progress {
 public:
  progress();

  /// What there is to do, as far as is known by now.
  void expect(std::size_t files, std::uint64_t bytes, bool complete) noexcept;
  void add_bytes(std::uint64_t count) noexcept;
  void add_file() noexcept;

  /// Takes the line away, so that something else can be written; the next change draws it again.
  void clear() noexcept;

  std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  using clock = std::chrono::steady_clock;
  void draw_if_due() noexcept;
  void draw(clock::time_point now) noexcept;

  const bool shown_;
  const clock::time_point started_ = clock::now();
  clock::time_point drawn_ = started_;
  unsigned until_look_ = 0;  // changes before the clock is looked at again
  bool on_screen_ = false;

  std::size_t files_ = 0;
  std::uint64_t bytes_ = 0;
  std::size_t files_expected_ = 0;
  std::uint64_t bytes_expected_ = 0;
  bool all_known_ = false;
};

}  // namespace weir::tools
