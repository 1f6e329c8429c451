#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace weir::tools {

/// "64 MiB", "1.5 GiB".
std::string shown_bytes(std::uint64_t count);

/// A text for a person: headings, and below them rows of a label and a text, which goes on below
/// itself where the line is full. What a terminal would obey, as a path may hold it, becomes '?'.
class text_page {
 public:
  void heading(const std::string& title);
  void row(const std::string& label, const std::string& text);
  /// As it is, but for what a terminal would obey.
  void line(std::string text);

  const std::string& text() const noexcept { return text_; }

 private:
  static constexpr std::size_t width = 100;
  static constexpr std::size_t indent = 24;
  std::string text_;
};

}  // namespace weir::tools
