#include "simulated/pages.hpp"

#include <algorithm>
#include <cstring>

namespace weir::detail::simulated {
namespace {

constexpr std::array<std::byte, page_size> zeros{};

}  // namespace

page_ref::~page_ref() {
  if (page_ == nullptr) return;
  if (page_->users.fetch_sub(1, std::memory_order_acq_rel) == 1) delete page_;
}

const std::byte* page_ref::bytes() const noexcept {
  return page_ != nullptr ? page_->bytes.data() : zeros.data();
}

std::byte* page_ref::to_write(bool overwritten) {
  if (page_ != nullptr && page_->users.load(std::memory_order_acquire) == 1) {
    return page_->bytes.data();
  }
  page_ref own(new page);
  if (!overwritten) std::memcpy(own.page_->bytes.data(), bytes(), page_size);
  std::swap(page_, own.page_);
  return page_->bytes.data();
}

const page_ref& page_table::at(std::uint64_t number) const noexcept {
  static const page_ref hole;
  const std::uint64_t which = number / group_size;
  if (recent_ != nullptr && recent_->first == which) return recent_->second[number % group_size];
  const auto found = groups_.find(which);
  return found == groups_.end() ? hole : found->second[number % group_size];
}

page_ref& page_table::slot(std::uint64_t number) {
  const std::uint64_t which = number / group_size;
  if (recent_ == nullptr || recent_->first != which) recent_ = &*groups_.try_emplace(which).first;
  return recent_->second[number % group_size];
}

void page_table::truncate(std::uint64_t first) noexcept {
  recent_ = nullptr;
  auto at = groups_.lower_bound(first / group_size);
  if (at == groups_.end()) return;
  if (at->first == first / group_size) {
    for (std::uint64_t i = first % group_size; i < group_size; ++i) at->second[i] = {};
    if (first % group_size != 0) ++at;
  }
  groups_.erase(at, groups_.end());
}

std::uint64_t page_table::count(std::uint64_t first) const noexcept {
  std::uint64_t found = 0;
  for (std::uint64_t at = next(first); at != UINT64_MAX; at = next(at + 1)) ++found;
  return found;
}

std::uint64_t page_table::next(std::uint64_t number) const noexcept {
  for (auto at = groups_.lower_bound(number / group_size); at != groups_.end(); ++at) {
    const std::uint64_t begin = at->first * group_size;
    for (std::uint64_t i = std::max(number, begin) - begin; i < group_size; ++i) {
      if (at->second[i]) return begin + i;
    }
  }
  return UINT64_MAX;
}

}  // namespace weir::detail::simulated
