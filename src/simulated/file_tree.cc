#include "simulated/file_tree.hpp"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <ranges>
#include <set>
#include <utility>

namespace weir::detail::simulated {
namespace {

constexpr std::size_t name_max = 255;
constexpr std::size_t path_max = 4096;
constexpr unsigned most_symlinks = 40;  // path_resolution(7)

}  // namespace

file_tree::file_tree() {
  inode& root = add(inode_kind::directory, 0755, 0);
  root.parent = root.number;
  root.links = root.remembered = 1;
}

inode* file_tree::find(inode_number number) noexcept {
  const auto found = inodes_.find(number);
  return found == inodes_.end() ? nullptr : &found->second;
}

inode& file_tree::add(inode_kind kind, std::uint32_t mode, std::int64_t now_ns) {
  const inode_number number = next_++;
  return inodes_
      .try_emplace(number,
                   inode{
                       .number = number,
                       .kind = kind,
                       .mode = mode,
                       .born_ns = now_ns,
                       .changed_ns = now_ns,
                   })
      .first->second;
}

void file_tree::drop_if_unused(inode& which) noexcept {
  if (which.links != 0 || which.remembered != 0 || which.opened != 0) return;
  const auto held = std::move(which.durable_entries);
  inodes_.erase(which.number);
  for (const auto& [name, number] : held) forget_one(number);
}

// --- paths ---------------------------------------------------------------------------------------

/// One path's way through the tree, component by component; what a symbolic link leads to is put in
/// its place.
class file_tree::walk {
 public:
  walk(file_tree& tree, inode& from, std::string_view path, how_to_resolve how)
      : tree_(tree), start_(&from), at_(&from), rest_(path), how_(how) {}

  std::expected<place, std::int32_t> go() {
    if (rest_.size() >= path_max) return std::unexpected(-ENAMETOOLONG);
    if (rest_.empty()) return std::unexpected(-ENOENT);
    std::int32_t error = rest_.starts_with('/') ? begin_at_root() : 0;
    std::optional<place> end;
    while (error == 0 && !end) error = step(end);
    if (error != 0) return std::unexpected(error);
    return *std::move(end);
  }

 private:
  std::int32_t begin_at_root() noexcept {
    if (how_.beneath) return -EXDEV;
    at_ = &tree_.root();
    return 0;
  }

  // One component. At the last, `end` is where it leads.
  std::int32_t step(std::optional<place>& end) {
    const std::string name = next_name();
    const bool last = rest_.find_first_not_of('/') == std::string::npos;
    const bool slash = last && !rest_.empty();
    if (name.empty()) {
      end.emplace(nullptr, "/", at_, slash, true);
      return 0;
    }
    if (!at_->is_directory()) return -ENOTDIR;
    if (name.size() > name_max) return -ENAMETOOLONG;
    inode* const found = look_up(name);
    if (how_.beneath && left_) return -EXDEV;
    const bool link = found != nullptr && found->kind == inode_kind::symlink;
    if (link && (!last || how_.follow || slash)) return follow(*found);
    if (last) {
      end.emplace(at_, name, found, slash, name == "." || name == "..");
      return 0;
    }
    if (found == nullptr) return -ENOENT;
    at_ = found;
    return 0;
  }

  std::string next_name() {
    rest_.erase(0, rest_.find_first_not_of('/'));
    std::string name = rest_.substr(0, rest_.find('/'));
    rest_.erase(0, name.size());
    return name;
  }

  inode* look_up(const std::string& name) noexcept {
    if (name == ".") return at_;
    if (name == "..") {
      left_ = left_ || at_ == start_;
      return tree_.find(at_->parent);
    }
    const auto found = at_->entries.find(name);
    return found == at_->entries.end() ? nullptr : tree_.find(found->second);
  }

  std::int32_t follow(const inode& link) {
    if (how_.no_symlinks || ++links_ > most_symlinks) return -ELOOP;
    rest_ = link.target + rest_;
    return rest_.starts_with('/') ? begin_at_root() : 0;
  }

  file_tree& tree_;
  inode* const start_;
  inode* at_;
  std::string rest_;
  how_to_resolve how_;
  unsigned links_ = 0;
  bool left_ = false;  // gone above where it began
};

std::expected<place, std::int32_t> file_tree::resolve(inode& from, std::string_view path,
                                                      how_to_resolve how) {
  return walk(*this, from, path, how).go();
}

bool file_tree::contains(const inode& directory, inode_number descendant) noexcept {
  for (inode* at = find(descendant); at != nullptr; at = find(at->parent)) {
    if (at == &directory) return true;
    if (at->parent == at->number) break;
  }
  return false;
}

// --- names ---------------------------------------------------------------------------------------

void file_tree::change_names(name_change change) {
  for (const name_step& step : change.steps) {
    auto& entries = find(step.directory)->entries;
    if (const auto old = entries.find(step.name); old != entries.end()) {
      --find(old->second)->links;
      entries.erase(old);
    }
    if (step.target == 0) continue;
    inode& target = *find(step.target);
    entries.emplace(step.name, step.target);
    ++target.links;
    ++target.remembered;  // as long as the change waits
    if (target.is_directory()) target.parent = step.directory;
  }
  waiting_.push_back(std::move(change));
}

void file_tree::forget_one(inode_number target) noexcept {
  if (target == 0) return;
  inode& which = *find(target);
  --which.remembered;
  drop_if_unused(which);
}

void file_tree::forget(const name_change& change) noexcept {
  for (const name_step& step : change.steps) forget_one(step.target);
}

// A directory that is gone from the disk as well takes no names.
void file_tree::persist(const name_change& change) {
  for (const name_step& step : change.steps) {
    inode* const directory = find(step.directory);
    if (directory == nullptr) continue;
    inode_number before = 0;
    auto& entries = directory->durable_entries;
    if (const auto old = entries.find(step.name); old != entries.end()) {
      before = old->second;
      entries.erase(old);
    }
    if (step.target != 0) {
      entries.emplace(step.name, step.target);
      ++find(step.target)->remembered;
    }
    forget_one(before);
  }
  forget(change);
}

namespace {

using name_key = std::pair<inode_number, std::string>;

bool touches(const name_change& change, const std::set<name_key>& names) {
  return std::ranges::any_of(change.steps, [&](const name_step& step) {
    return names.contains({step.directory, step.name});
  });
}

void add_names(const name_change& change, std::set<name_key>& names) {
  for (const name_step& step : change.steps) names.emplace(step.directory, step.name);
}

}  // namespace

// From the newest to the oldest: what is persisted needs what was done before to the same names.
void file_tree::persist_names(inode_number directory) {
  std::set<name_key> needed;
  std::vector<name_change> chosen;
  std::vector<name_change> left;
  for (name_change& change : std::views::reverse(waiting_)) {
    const bool here = std::ranges::any_of(
        change.steps, [&](const name_step& step) { return step.directory == directory; });
    const bool persisted = here || touches(change, needed);
    if (persisted) add_names(change, needed);
    (persisted ? chosen : left).push_back(std::move(change));
  }
  waiting_.assign(std::make_move_iterator(left.rbegin()), std::make_move_iterator(left.rend()));
  for (const name_change& change : std::views::reverse(chosen)) persist(change);
}

void file_tree::persist_all_names() {
  for (const name_change& change : std::exchange(waiting_, {})) persist(change);
}

void file_tree::lose_names(const std::function<bool(const name_change&)>& is_lost) {
  std::set<name_key> lost;
  for (const name_change& change : std::exchange(waiting_, {})) {
    if (touches(change, lost) || is_lost(change)) {
      add_names(change, lost);
      forget(change);
    } else {
      persist(change);
    }
  }
}

void file_tree::restart() {
  for (auto& [number, each] : inodes_) {
    each.now = each.durable;
    each.waiting.clear();
    each.queued = false;
    each.opened = 0;
    each.entries = each.durable_entries;
    each.links = 0;
  }
  root().links = 1;
  // What no name leads to any more, fsck(8) would take away.
  std::vector<inode*> reached{&root()};
  for (std::size_t i = 0; i < reached.size(); ++i) {
    for (const auto& [name, number] : reached[i]->entries) {
      inode& child = *find(number);
      if (child.is_directory()) child.parent = reached[i]->number;
      if (child.links++ == 0) reached.push_back(&child);
    }
  }
  std::erase_if(inodes_, [](const auto& each) { return each.second.links == 0; });
  for (auto& [number, each] : inodes_) each.remembered = each.links;
}

}  // namespace weir::detail::simulated
