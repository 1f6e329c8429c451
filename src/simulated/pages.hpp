#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <utility>

namespace weir::detail::simulated {

inline constexpr std::uint64_t page_size = 4096;

/// What a page held at one time. Shared by all who remember that time: the page cache, the disk,
/// and what waits to go from one to the other; so it changes only while it has one user.
struct page {
  std::atomic<std::uint32_t> users = 1;
  std::array<std::byte, page_size> bytes;
};

/// A share in a page; null is a hole, all zeros. Pages may be shared by disks that different
/// threads use.
class page_ref {
 public:
  page_ref() noexcept = default;
  page_ref(const page_ref& other) noexcept : page_(other.page_) {
    if (page_ != nullptr) page_->users.fetch_add(1, std::memory_order_relaxed);
  }
  page_ref(page_ref&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  page_ref& operator=(const page_ref& other) noexcept { return *this = page_ref(other); }
  page_ref& operator=(page_ref&& other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  ~page_ref();

  explicit operator bool() const noexcept { return page_ != nullptr; }
  /// Zeros for a hole.
  const std::byte* bytes() const noexcept;

  /// A page of this one's user alone, to be written to: a new one where it is shared, with the
  /// same contents unless they are all `overwritten`. Throws std::bad_alloc.
  std::byte* to_write(bool overwritten);

 private:
  explicit page_ref(page* owned) noexcept : page_(owned) {}

  page* page_ = nullptr;
};

/// A file's pages, by number; those not there are holes. A copy shares the pages.
class page_table {
 public:
  page_table() = default;
  page_table(const page_table& other) : groups_(other.groups_) {}
  page_table(page_table&& other) noexcept
      : groups_(std::move(other.groups_)), recent_(std::exchange(other.recent_, nullptr)) {}
  page_table& operator=(const page_table& other) { return *this = page_table(other); }
  page_table& operator=(page_table&& other) noexcept {
    groups_.swap(other.groups_);
    recent_ = nullptr;
    return *this;
  }
  ~page_table() = default;

  const page_ref& at(std::uint64_t number) const noexcept;
  /// Made where it is missing. Valid until the next truncation. Throws std::bad_alloc.
  page_ref& slot(std::uint64_t number);
  /// Forgets all pages from `first` on.
  void truncate(std::uint64_t first) noexcept;

  /// How many are not holes, in all or from `first` on.
  std::uint64_t count(std::uint64_t first = 0) const noexcept;
  /// The number of the first page at or behind `number` that is no hole; UINT64_MAX for none.
  std::uint64_t next(std::uint64_t number) const noexcept;

 private:
  static constexpr std::uint64_t group_size = 64;
  using group = std::array<page_ref, group_size>;

  std::map<std::uint64_t, group> groups_;
  // The one last made a slot in: files are mostly written from front to back.
  std::pair<const std::uint64_t, group>* recent_ = nullptr;
};

}  // namespace weir::detail::simulated
