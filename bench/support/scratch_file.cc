#include "support/scratch_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "support/fail.hpp"

namespace weir::bench {
namespace {

/// What no layer below can compress or leave out.
std::vector<std::uint64_t> noise() {
  std::vector<std::uint64_t> words((1 << 20) / sizeof(std::uint64_t));
  std::ranges::generate(words, std::mt19937_64(1));
  return words;
}

void fill(int fd, std::size_t size) {
  const auto chunk = noise();
  const std::size_t chunk_size = chunk.size() * sizeof chunk[0];
  for (std::size_t at = 0; at < size; at += chunk_size) {
    const std::size_t length = std::min(chunk_size, size - at);
    const ssize_t written = ::pwrite(fd, chunk.data(), length, static_cast<off_t>(at));
    if (written < 0) fail("pwrite");
    expect_whole("pwrite", written, length);
  }
  checked("fsync", ::fsync(fd));
}

}  // namespace

std::string scratch_directory() {
  const char* const wanted = std::getenv("TMPDIR");
  return wanted != nullptr ? wanted : "/var/tmp";
}

scratch_file::scratch_file(std::size_t size)
    : buffered_(checked("open " + scratch_directory(),
                        ::open(scratch_directory().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600))),
      direct_(::open(path().c_str(), O_RDWR | O_DIRECT | O_CLOEXEC)),
      size_(size) {
  fill(buffered_, size);
}

scratch_file::scratch_file(scratch_file&& other) noexcept
    : buffered_(std::exchange(other.buffered_, -1)),
      direct_(std::exchange(other.direct_, -1)),
      size_(other.size_) {}

scratch_file::~scratch_file() {
  if (direct_ >= 0) ::close(direct_);
  if (buffered_ >= 0) ::close(buffered_);
}

std::string scratch_file::path() const {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(buffered_);
}

void scratch_file::drop_from_cache() const {
  checked("fdatasync", ::fdatasync(buffered_));
  if (const int error = ::posix_fadvise(buffered_, 0, 0, POSIX_FADV_DONTNEED); error != 0) {
    fail("posix_fadvise", error);
  }
}

}  // namespace weir::bench
