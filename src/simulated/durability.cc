// How what was done becomes durable, and how it does not.

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "simulated/file_system.hpp"

namespace weir::detail::simulated {
namespace {

std::string text_of(const name_change& change) {
  std::string text;
  for (const name_step& step : change.steps) {
    if (!text.empty()) text += ", ";
    text += (step.target == 0 ? "no " : "") + step.name;
  }
  return text;
}

}  // namespace

// --- syncing -------------------------------------------------------------------------------------

// What fails counts as clean afterwards, so nobody tries again: Rebello et al., "Can applications
// recover from fsync failures?", USENIX ATC 2020.
std::int32_t file_system::sync(inode& file) {
  if (power_fails_ && fate_.befalls(simulated_fault::lost, 0.5, now_.number, its_sync)) {
    meet({now_.number, its_sync, simulated_fault::lost}, &file);
    return 0;  // which nobody hears
  }
  if (!file.is_directory() && befalls(simulated_fault::sync_failed)) {
    meet({now_.number, 0, simulated_fault::sync_failed}, &file);
    forget_waiting(file);
    return -EIO;
  }
  persist_oldest(file, file.waiting.size());
  if (options_.names == name_order::journal) {
    tree_.persist_all_names();
  } else if (file.is_directory()) {
    tree_.persist_names(file.number);
  }
  return 0;
}

void file_system::persist_oldest(inode& file, std::size_t count) {
  const auto end = file.waiting.begin() + static_cast<std::ptrdiff_t>(count);
  for (auto each = file.waiting.begin(); each != end; ++each) {
    if (each->what == change::kind::page) --waiting_pages_;
    write_back(file, *each);
  }
  file.waiting.erase(file.waiting.begin(), end);
}

void file_system::write_back(inode& file, const change& done) {
  if (done.what == change::kind::page &&
      fate_.befalls(simulated_fault::misdirected, done.operation, done.part)) {
    return misdirect(file, done);
  }
  persist(file, done);
}

// The page arrives at another's place, and what is in memory of both is what is on the disk: it
// would come to light only once that had been dropped.
void file_system::misdirect(inode& file, const change& done) {
  meet({done.operation, done.part, simulated_fault::misdirected}, &file);
  const std::uint64_t pages = (file.durable.size + page_size - 1) / page_size;
  const std::uint64_t elsewhere =
      pages < 2 ? done.at + 1
                : (done.at + 1 +
                   fate_.random().below(pages - 1, purpose::place, done.operation, done.part)) %
                      pages;
  for (const std::uint64_t number : {done.at, elsewhere}) {
    if (number == elsewhere) file.durable.pages.slot(number) = done.version;
    page_ref& cached = file.now.pages.slot(number);
    const page_ref& on_disk = file.durable.pages.at(number);
    if (cached && !on_disk) --used_pages_;
    if (!cached && on_disk) ++used_pages_;
    cached = on_disk;
  }
}

void file_system::forget_waiting(inode& file) noexcept {
  waiting_pages_ -= static_cast<std::uint64_t>(
      std::ranges::count(file.waiting, change::kind::page, &change::what));
  file.waiting.clear();
}

// --- by itself -----------------------------------------------------------------------------------

void file_system::write_back_oldest() {
  inode* const file = tree_.find(dirty_.front());
  dirty_.pop_front();
  if (file == nullptr) return;
  file->queued = false;
  persist_oldest(*file, file->waiting.size());
}

void file_system::write_back_in_passing() {
  const random_source& random = fate_.random();
  if (now_.number == 0) return;
  if (!happens(options_.writeback, random.draw(purpose::writeback, now_.number))) return;
  const bool names = random.below(4, purpose::writeback, now_.number, 1) == 0;
  if (names && !tree_.waiting().empty()) {
    return tree_.persist_names(tree_.waiting().front().steps.front().directory);
  }
  if (dirty_.empty()) return;
  const auto which = random.below(dirty_.size(), purpose::writeback, now_.number, 2);
  inode* const file = tree_.find(dirty_[which]);
  if (file != nullptr) persist_oldest(*file, (file->waiting.size() + 1) / 2);
}

// --- losing --------------------------------------------------------------------------------------

// Where in the order of all that waits the disk stopped.
std::uint64_t file_system::draw_cut() {
  std::vector<std::uint64_t> waiting;
  tree_.for_each([&](const inode& each) {
    for (const change& done : each.waiting) waiting.push_back(done.sequence);
  });
  for (const name_change& done : tree_.waiting()) waiting.push_back(done.sequence);
  std::ranges::sort(waiting);
  const auto at = fate_.random().below(waiting.size() + 1, purpose::cut, power_failures_);
  return at == waiting.size() ? UINT64_MAX : waiting[at];
}

bool file_system::is_lost(std::uint64_t operation, std::uint32_t part,
                          std::uint64_t sequence) const noexcept {
  if (!fate_.is_replay()) {
    if (options_.loss == power_loss::all) return true;
    if (options_.loss == power_loss::in_order) return sequence >= cut_;
  }
  return fate_.befalls(simulated_fault::lost, loss_rate_, operation, part);
}

bool file_system::is_torn(const change& done) const noexcept {
  if (done.what != change::kind::page) return false;
  const std::uint64_t sectors = sectors_of(done, options_.sector_size);
  if ((sectors & (sectors - 1)) == 0) return false;  // one cannot be torn
  double rate = 0.25;
  if (options_.loss == power_loss::in_order) rate = done.sequence == cut_ ? 0.5 : 0;
  if (options_.loss == power_loss::all) rate = 0;
  return fate_.befalls(simulated_fault::torn, rate, done.operation, done.part);
}

void file_system::persist_torn(inode& file, const change& done) {
  meet({done.operation, done.part, simulated_fault::torn}, &file);
  const std::uint64_t all = sectors_of(done, options_.sector_size);
  std::uint64_t kept = all & fate_.random().draw(purpose::sectors, done.operation, done.part);
  if (kept == 0 || kept == all) kept = all & (~all + 1);  // the first
  persist_sectors(file, done, options_.sector_size, kept);
}

// A file that was given another size has its later pages in other places: without the one, there
// are none of the others.
void file_system::lose_changes(inode& file) {
  bool cut_off = false;
  for (const change& done : std::exchange(file.waiting, {})) {
    if (cut_off) continue;
    if (is_torn(done)) {
      persist_torn(file, done);
    } else if (is_lost(done.operation, done.part, done.sequence)) {
      meet({done.operation, done.part, simulated_fault::lost}, &file);
      cut_off = done.what == change::kind::size;
    } else {
      persist_sectors(file, done, options_.sector_size, sectors_of(done, options_.sector_size));
    }
  }
}

void file_system::lose_power() {
  ++power_failures_;
  trace_.add({.what = event::kind::power_off, .at_ns = clock_ns_});
  if (options_.loss == power_loss::none) {
    tree_.persist_all_names();
    tree_.for_each([](inode& each) { each.durable = each.now; });
    return;
  }
  constexpr std::array rates = {0.125, 0.5, 0.875};
  loss_rate_ = options_.loss == power_loss::some
                   ? rates[fate_.random().below(rates.size(), purpose::keep_rate, power_failures_)]
                   : 0;
  cut_ = draw_cut();
  tree_.for_each([this](inode& each) { lose_changes(each); });
  tree_.lose_names([this](const name_change& change) {
    if (!is_lost(change.operation, change.part, change.sequence)) return false;
    meet({change.operation, change.part, simulated_fault::lost}, nullptr, text_of(change));
    return true;
  });
}

}  // namespace weir::detail::simulated
