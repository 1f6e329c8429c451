#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "temporary_file.hpp"

namespace weir::tools::bench {

/// Fills memory with what a disk or a file system can make no smaller; as many as fit of 8 bytes.
void fill_with_noise(std::span<std::byte> memory, std::uint64_t seed) noexcept;

/// What a scratch file is asked to be.
struct scratch_options {
  std::uint64_t size = 0;  ///< 0: `most`, or less where there is little room or memory
  std::uint64_t most = 0;
  std::chrono::nanoseconds patience{};  ///< of that, what can be written in so long
};

/// The file that is measured: one of the user's, which is only read, or a scratch file, which has
/// no name and so is gone however the program ends. What fails, fails with a sentence.
class target {
 public:
  /// A regular file or a block device.
  static std::expected<target, std::string> existing(const std::string& path);
  /// Full of bytes that cannot be compressed, and on the disk.
  static std::expected<target, std::string> scratch_in(const std::string& directory,
                                                       const scratch_options& options);

  /// "'/srv/data'", "a scratch file in '/srv'".
  const std::string& description() const noexcept { return description_; }
  std::uint64_t size() const noexcept { return size_; }
  bool is_scratch() const noexcept { return scratch_; }

  /// Another open file of it, with its own flags, as O_DIRECT.
  std::string path_to_reopen() const;
  int fd() const noexcept { return file_.get(); }

  /// Writes back what was written, and has the page cache let go of the file.
  std::error_code drop_pages() const noexcept;
  std::error_code write_back() const noexcept;

  /// Whether the page cache let go when it was last told to. False also where nobody can tell.
  bool pages_are_dropped() const;

  /// Why it cannot be read past the page cache; nothing: it can.
  std::error_code direct_refusal() const;

  /// What a reader of the numbers should know about this file.
  std::vector<std::string> remarks() const;

 private:
  target(descriptor file, std::string description, std::uint64_t size, bool scratch)
      : file_(std::move(file)),
        description_(std::move(description)),
        size_(size),
        scratch_(scratch) {}
  std::error_code fill(std::chrono::nanoseconds patience);

  descriptor file_;
  std::string description_;
  std::uint64_t size_;
  bool scratch_;
};

}  // namespace weir::tools::bench
