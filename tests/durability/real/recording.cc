#include "durability/real/recording.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace weir::real_disks {
namespace {

constexpr std::size_t most_entries = std::size_t{1} << 18;
constexpr std::size_t most_bytes = std::size_t{1} << 30;

}  // namespace

mapped_memory::mapped_memory(std::size_t size, bool shared) : size_(size) {
  const int sharing = shared ? MAP_SHARED : MAP_PRIVATE;
  void* const memory =
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<std::byte*>(memory);
}

mapped_memory::~mapped_memory() { ::munmap(data_, size_); }

void mapped_memory::clear() noexcept {
  if (::madvise(data_, size_, MADV_REMOVE) != 0) std::ranges::fill(span(), std::byte{});
}

recording::recording(std::size_t disk_size)
    : disk_(disk_size, true),
      entries_(most_entries * sizeof(log_entry), true),
      bytes_(most_bytes, true),
      state_(sizeof(state), true) {
  new (state_.span().data()) state{};
}

recording::state& recording::shared() const noexcept {
  return *std::launder(reinterpret_cast<state*>(state_.span().data()));
}

std::span<log_entry> recording::entries() const noexcept {
  return {reinterpret_cast<log_entry*>(entries_.span().data()), most_entries};
}

bool recording::append(const log_entry& what) noexcept {
  state& log = shared();
  const std::uint64_t count = log.entries.load(std::memory_order_relaxed);
  if (count == most_entries) {
    log.full = true;
    return false;
  }
  entries()[count] = what;
  // Whoever sees the count sees the entry, and its bytes.
  log.entries.store(count + 1, std::memory_order_release);
  return true;
}

bool recording::write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept {
  state& log = shared();
  if (log.records && !bytes.empty()) {
    const std::uint64_t at = log.bytes.load(std::memory_order_relaxed);
    if (bytes.size() > most_bytes - at) {
      log.full = true;
      return false;
    }
    std::ranges::copy(bytes, bytes_.span().subspan(at).begin());
    if (!append({.offset = offset, .length = bytes.size(), .at = at})) return false;
    log.bytes.store(at + bytes.size(), std::memory_order_relaxed);
  }
  std::ranges::copy(bytes, disk().subspan(offset).begin());
  return true;
}

bool recording::flush() noexcept { return !shared().records || append({}); }

void recording::start() noexcept {
  state& log = shared();
  log.entries = 0;
  log.bytes = 0;
  log.full = false;
  log.records = true;
}

void recording::stop() noexcept { shared().records = false; }

std::uint64_t recording::position() const noexcept {
  return shared().entries.load(std::memory_order_acquire);
}

bool recording::is_full() const noexcept { return shared().full; }

disk_history recording::history() const {
  const std::span<log_entry> logged = entries().first(position());
  const std::span<std::byte> bytes = bytes_.span().first(shared().bytes);
  return {.entries = {logged.begin(), logged.end()}, .bytes = {bytes.begin(), bytes.end()}};
}

}  // namespace weir::real_disks
