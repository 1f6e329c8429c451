#include "bench/target.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "bench/regime.hpp"
#include "failures.hpp"
#include "interrupts.hpp"
#include "text_page.hpp"
#include <weir/buffer.hpp>

namespace weir::tools::bench {
namespace {

constexpr std::size_t page = 4096;
constexpr std::uint64_t least_size = warm_bytes;  // less, and every slice would read it whole

std::unexpected<std::string> failed(const std::string& verb, const std::string& path, int error) {
  return std::unexpected("cannot " + verb + " " + in_quotes(path) + ": " +
                         std::system_category().message(error));
}

std::error_code write_all(int fd, std::span<const std::byte> memory, std::uint64_t offset) {
  while (!memory.empty()) {
    const ssize_t count = ::pwrite(fd, memory.data(), memory.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return last_error();
    if (count == 0) return {ENOSPC, std::system_category()};
    memory = memory.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

// A quarter of what is free leaves others room; an eighth of the memory leaves them theirs, for
// the pages of a file that has just been written, or a file system that is memory.
std::uint64_t fitting_size(const struct statvfs& system, std::uint64_t most) {
  const std::uint64_t free = system.f_bavail * system.f_frsize;
  const auto memory = static_cast<std::uint64_t>(std::max(::sysconf(_SC_PHYS_PAGES), 0L)) *
                      static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return std::min({most, free / 4, memory / 8}) / mib * mib;
}

descriptor open_scratch(const std::string& directory) {
  descriptor unnamed = open_unnamed(directory);
  return unnamed ? std::move(unnamed) : open_briefly_named(directory);
}

bool resident(int fd, std::uint64_t offset) {
  std::byte probe{};
  const iovec one{.iov_base = &probe, .iov_len = 1};
  const ssize_t count = ::preadv2(fd, &one, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  if (count > 0) return true;
  if (count < 0 && errno == EAGAIN) return false;
  // The file system does not know RWF_NOWAIT. Of a file of others mincore(2) says yes, always.
  void* const mapped = ::mmap(nullptr, page, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (mapped == MAP_FAILED) return true;
  unsigned char answer = 1;
  const bool known = ::mincore(mapped, page, &answer) == 0;
  ::munmap(mapped, page);
  return !known || (answer & 1) != 0;
}

}  // namespace

// splitmix64: as fast as memory.
void fill_with_noise(std::span<std::byte> memory, std::uint64_t seed) noexcept {
  for (std::size_t at = 0; at + sizeof seed <= memory.size(); at += sizeof seed) {
    std::uint64_t word = (seed += 0x9e3779b97f4a7c15);
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
    word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
    word ^= word >> 31;
    std::memcpy(memory.data() + at, &word, sizeof word);
  }
}

std::expected<target, std::string> target::existing(const std::string& path) {
  // O_NONBLOCK: nobody may be at the other end of a FIFO.
  descriptor opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!opened) return failed("open", path, opened.error());
  struct stat about{};
  if (::fstat(opened.get(), &about) != 0) return failed("examine", path, errno);
  if (!S_ISREG(about.st_mode) && !S_ISBLK(about.st_mode)) {
    return std::unexpected(in_quotes(path) +
                           " is neither a file nor a directory nor a block device");
  }
  const off_t size = ::lseek(opened.get(), 0, SEEK_END);
  if (size < 0) return failed("examine", path, errno);
  if (static_cast<std::uint64_t>(size) < least_size) {
    return std::unexpected(in_quotes(path) + " is too small to measure with: " +
                           shown_bytes(static_cast<std::uint64_t>(size)) + ", less than " +
                           shown_bytes(least_size) + "; its directory will do instead");
  }
  return target(std::move(opened), in_quotes(path), static_cast<std::uint64_t>(size), false);
}

std::expected<target, std::string> target::scratch_in(const std::string& directory,
                                                      const scratch_options& options) {
  descriptor made = open_scratch(directory);
  if (!made) return failed("make a scratch file in", directory, made.error());
  struct statvfs system{};
  if (::fstatvfs(made.get(), &system) != 0) return failed("examine", directory, errno);
  const std::uint64_t size = options.size != 0 ? options.size : fitting_size(system, options.most);
  if (options.size != 0 && size < least_size) {
    return std::unexpected("a scratch file must have at least " + shown_bytes(least_size) +
                           ", not " + shown_bytes(size));
  }
  if (size < least_size || size > system.f_bavail * system.f_frsize) {
    return std::unexpected("there is not enough room for a scratch file in " +
                           in_quotes(directory) + ": " +
                           shown_bytes(system.f_bavail * system.f_frsize) + " are free");
  }
  target scratch(std::move(made), "a scratch file in " + in_quotes(directory), size, true);
  const std::error_code error =
      scratch.fill(options.size != 0 ? std::chrono::nanoseconds::max() : options.patience);
  if (error) return failed("write a scratch file in", directory, error.value());
  return scratch;
}

// Written back again and again, so that the clock tells how fast the disk is.
std::error_code target::fill(std::chrono::nanoseconds patience) {
  constexpr std::uint64_t between_syncs = 32 * mib;
  const auto started = std::chrono::steady_clock::now();
  buffer block(mib);
  for (std::uint64_t at = 0; at < size_ && !interrupted; at += block.size()) {
    fill_with_noise(block.span(), at + 1);
    const std::size_t count = std::min<std::uint64_t>(block.size(), size_ - at);
    if (const auto error = write_all(fd(), block.first(count), at)) return error;
    if ((at + count) % between_syncs != 0) continue;
    if (const auto error = write_back()) return error;
    if (std::chrono::steady_clock::now() - started > patience) size_ = at + count;
  }
  return write_back();
}

std::string target::path_to_reopen() const { return "/proc/self/fd/" + std::to_string(fd()); }

std::error_code target::write_back() const noexcept {
  return ::fdatasync(fd()) == 0 ? std::error_code() : last_error();
}

// Only clean pages are let go of.
std::error_code target::drop_pages() const noexcept {
  if (const auto error = write_back()) return error;
  return {::posix_fadvise(fd(), 0, 0, POSIX_FADV_DONTNEED), std::system_category()};
}

// A look at a few pages. A page that is not there begins to be read by that, so each is looked at
// once; what that leaves behind is dropped before the next slice.
bool target::pages_are_dropped() const {
  constexpr unsigned looks = 16;
  const std::uint64_t step = size_ / looks / page * page;
  unsigned there = 0;
  for (unsigned i = 0; i < looks; ++i) there += resident(fd(), i * step) ? 1U : 0U;
  return there <= looks / 8;  // some other program may be reading the file
}

std::error_code target::direct_refusal() const {
  const descriptor opened(::open(path_to_reopen().c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (!opened) return {opened.error(), std::system_category()};
  buffer block(page);
  return ::pread(opened.get(), block.data(), block.size(), 0) < 0 ? last_error()
                                                                  : std::error_code();
}

std::vector<std::string> target::remarks() const {
  std::vector<std::string> found;
  struct stat about{};
  constexpr std::uint64_t sector = 512;  // st_blocks counts these
  if (!scratch_ && ::fstat(fd(), &about) == 0 && S_ISREG(about.st_mode) &&
      static_cast<std::uint64_t>(about.st_blocks) * sector < size_ / 10 * 9) {
    found.push_back(description_ + " has holes or is compressed: it holds " +
                    shown_bytes(static_cast<std::uint64_t>(about.st_blocks) * sector) + " of " +
                    shown_bytes(size_) + " on the disk, and what is not there is read faster");
  }
  if (!scratch_) found.emplace_back("writes are measured only on a scratch file, so not here");
  return found;
}

}  // namespace weir::tools::bench
