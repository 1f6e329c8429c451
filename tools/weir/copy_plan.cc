#include "copy_plan.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ranges>
#include <system_error>
#include <utility>

namespace weir::tools {
namespace {

namespace fs = std::filesystem;

std::string joined(const std::string& directory, const std::string& name) {
  return directory.ends_with('/') ? directory + name : directory + "/" + name;
}

// "a/b/" and "a/b" are both called "b"; "..", "." and "/" have no name of their own, and their
// contents go straight into the destination.
std::string name_of(const std::string& source) {
  const auto end = source.find_last_not_of('/');
  if (end == std::string::npos) return {};
  const auto slash = source.find_last_of('/', end);
  const auto begin = slash == std::string::npos ? 0 : slash + 1;
  std::string name = source.substr(begin, end - begin + 1);
  return name == "." || name == ".." ? std::string{} : name;
}

bool is_directory(const std::string& path) {
  std::error_code ignored;  // what cannot be looked at is reported when it is to be copied
  return fs::is_directory(path, ignored);
}

// Whether `path`, which may not exist yet, lies within `directory`, or is it.
bool lies_within(const std::string& path, const std::string& directory) {
  std::error_code error;
  const fs::path inner = fs::weakly_canonical(path, error);
  if (error) return false;
  const fs::path outer = fs::weakly_canonical(directory, error);
  if (error) return false;
  const fs::path relative = inner.lexically_relative(outer);
  return !relative.empty() && *relative.begin() != "..";
}

}  // namespace

copy_plan::copy_plan(std::vector<std::string> sources, std::string destination, bool recursive,
                     failures& failed)
    : sources_(std::move(sources)),
      destination_(std::move(destination)),
      recursive_(recursive),
      failed_(failed),
      sensible_(check_command_line()) {
  if (!sensible_) next_source_ = sources_.size();
}

bool copy_plan::check_command_line() {
  struct stat status{};
  if (::stat(destination_.c_str(), &status) == 0) {
    into_directory_ = S_ISDIR(status.st_mode);
  } else if (errno != ENOENT) {
    failed_.add("copy to", destination_, last_error());
    return false;
  }
  if (!into_directory_ && (sources_.size() > 1)) {
    failed_.add("several sources need a directory to go to, and " + in_quotes(destination_) +
                " is none");
    return false;
  }
  return true;
}

std::string copy_plan::destination_of(const std::string& source) const {
  if (!into_directory_) return destination_;
  const std::string name = name_of(source);
  return name.empty() ? destination_ : joined(destination_, name);
}

std::optional<copy_job> copy_plan::next() {
  for (;;) {
    if (walks_.empty()) {
      if (next_source_ == sources_.size()) return std::nullopt;
      if (auto job = next_source()) return job;
      continue;
    }
    walk& at = walks_.back();
    if (at.entries == fs::directory_iterator{}) {
      walks_.pop_back();
      continue;
    }
    const std::string name = at.entries->path().filename().string();
    const bool is_new = at.is_new;
    const std::string source = joined(at.source, name);
    const std::string destination = joined(at.destination, name);
    std::error_code error;
    at.entries.increment(error);
    if (error) failed_.add("list", at.source, error);
    if (auto job = consider(source, destination, is_new, false)) return job;
  }
}

std::optional<copy_job> copy_plan::next_source() {
  const std::string& source = sources_[next_source_++];
  std::string destination = destination_of(source);
  if (recursive_ && is_directory(source) && lies_within(destination, source)) {
    failed_.add("will not copy directory " + in_quotes(source) + " into itself, " +
                in_quotes(destination));
    return std::nullopt;
  }
  return consider(source, std::move(destination), false, true);
}

std::optional<copy_job> copy_plan::consider(const std::string& source, std::string destination,
                                            bool is_new, bool named_by_user) {
  // A link that the user names is followed, unless whole trees are copied; those within are kept.
  const bool follow = named_by_user && !recursive_;
  copy_job job{.source = source, .destination_is_new = is_new};
  if (::fstatat(AT_FDCWD, source.c_str(), &job.status, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0) {
    failed_.add("find", source, last_error());
    return std::nullopt;
  }
  const mode_t mode = job.status.st_mode;
  if (S_ISDIR(mode)) {
    enter_directory(source, std::move(destination), job.status);
    return std::nullopt;
  }
  if (!S_ISREG(mode) && !S_ISLNK(mode)) {
    failed_.add(in_quotes(source) + " is not copied: it is a device, a pipe or a socket");
    return std::nullopt;
  }
  // Only with several sources can two files have one destination.
  if (sources_.size() > 1 && !taken_.insert(destination).second) {
    failed_.add("will not overwrite " + in_quotes(destination) + ", just made, with " +
                in_quotes(source));
    return std::nullopt;
  }
  job.what = S_ISLNK(mode) ? copy_job::kind::symlink : copy_job::kind::file;
  job.destination = std::move(destination);
  ++files_;
  bytes_ += S_ISREG(mode) ? static_cast<std::uint64_t>(job.status.st_size) : 0;
  return job;
}

void copy_plan::enter_directory(const std::string& source, std::string destination,
                                const struct stat& status) {
  if (!recursive_) {
    failed_.add(in_quotes(source) + " is a directory, and is copied only with -r");
    return;
  }
  bool is_new = false;
  if (!make_directory(destination, is_new)) return;
  if (is_new) made_.push_back({destination, status});  // one that was there keeps what it has
  std::error_code error;
  fs::directory_iterator entries(source, error);
  if (error) {
    failed_.add("list", source, error);
    return;
  }
  walks_.push_back({std::move(entries), source, std::move(destination), is_new});
}

bool copy_plan::make_directory(const std::string& path, bool& is_new) {
  is_new = ::mkdir(path.c_str(), 0700) == 0;
  if (is_new) return true;
  const std::error_code refused = last_error();
  struct stat status{};
  if (refused.value() == EEXIST && ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    return true;
  }
  failed_.add("make directory", path, refused);
  return false;
}

void copy_plan::finish_directories() {
  for (const made_directory& made : made_ | std::views::reverse) {
    const std::array<timespec, 2> times{made.source.st_atim, made.source.st_mtim};
    const mode_t mode = made.source.st_mode & 01777;
    if (::chmod(made.path.c_str(), mode) != 0 ||
        ::utimensat(AT_FDCWD, made.path.c_str(), times.data(), 0) != 0) {
      failed_.add("set mode and times of", made.path, last_error());
    }
  }
  made_.clear();
}

}  // namespace weir::tools
