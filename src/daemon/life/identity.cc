#include "daemon/life/identity.hpp"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <limits>
#include <optional>
#include <system_error>
#include <vector>

namespace weir::life {
namespace {

constexpr std::size_t record_max = std::size_t{1} << 20;

/// What getpwnam_r(3) and its kin find: their records point into `memory`, which grows as they ask.
template <class Record, class Lookup>
std::expected<std::optional<Record>, int> look_up(std::vector<char>& memory, Lookup lookup) {
  for (memory.resize(1024); memory.size() <= record_max; memory.resize(2 * memory.size())) {
    Record record{};
    Record* found = nullptr;
    const int error = lookup(&record, memory.data(), memory.size(), &found);
    if (error == ERANGE) continue;
    // Some databases say ENOENT and the like for a name that they do not have.
    if (error != 0 && error != ENOENT && error != ESRCH) return std::unexpected(error);
    return found != nullptr ? std::optional(record) : std::nullopt;
  }
  return std::unexpected(ERANGE);
}

// The greatest number stands for "none" in the system calls.
std::optional<unsigned> as_number(const std::string& text) noexcept {
  unsigned number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  if (number == std::numeric_limits<unsigned>::max()) return std::nullopt;
  return number;
}

/// A user, and the group that is its own, if the database has it.
struct user_record {
  uid_t user;
  std::optional<gid_t> group;
};

outcome<user_record> find_user(const std::string& name) {
  const auto number = as_number(name);
  std::vector<char> memory;
  const auto found = look_up<passwd>(memory, [&](auto... rest) {
    return number ? ::getpwuid_r(*number, rest...) : ::getpwnam_r(name.c_str(), rest...);
  });
  if (!found) return failed("user '" + name + "' could not be looked up", found.error());
  if (*found) return user_record{.user = (*found)->pw_uid, .group = (*found)->pw_gid};
  if (number) return user_record{.user = *number, .group = std::nullopt};
  return failed("there is no user '" + name + "'", ENOENT);
}

outcome<gid_t> find_group(const std::string& name) {
  if (const auto number = as_number(name)) return *number;
  std::vector<char> memory;
  const auto found =
      look_up<group>(memory, [&](auto... rest) { return ::getgrnam_r(name.c_str(), rest...); });
  if (!found) return failed("group '" + name + "' could not be looked up", found.error());
  if (!*found) return failed("there is no group '" + name + "'", ENOENT);
  return (*found)->gr_gid;
}

bool is(const identity& wanted) noexcept {
  std::array<uid_t, 3> users{};
  std::array<gid_t, 3> groups{};
  if (::getresuid(users.data(), &users[1], &users[2]) != 0) return false;
  if (::getresgid(groups.data(), &groups[1], &groups[2]) != 0) return false;
  const std::array wanted_users{wanted.user, wanted.user, wanted.user};
  const std::array wanted_groups{wanted.group, wanted.group, wanted.group};
  return users == wanted_users && groups == wanted_groups && ::getgroups(0, nullptr) == 0 &&
         ::setresuid(0, 0, 0) != 0;
}

}  // namespace

outcome<identity> find_identity(const std::string& user, const std::string& group) {
  const auto found = find_user(user);
  if (!found) return std::unexpected(found.error());
  outcome<gid_t> own = found->group.value_or(0);
  if (!group.empty()) {
    own = find_group(group);
  } else if (!found->group) {
    return failed("user '" + user + "' has no entry, so a group is needed, too", EINVAL);
  }
  if (!own) return std::unexpected(own.error());
  if (found->user == 0) return failed("user '" + user + "' is root", EPERM);
  if (*own == 0) return failed("the group would be root's", EPERM);
  return identity{.user = found->user, .group = *own};
}

// Groups first: a user who is no longer root may not.
outcome<> become(const identity& wanted) {
  if (::setgroups(0, nullptr) != 0) return failed("other groups could not be given up");
  if (::setresgid(wanted.group, wanted.group, wanted.group) != 0) {
    return failed("group " + std::to_string(wanted.group) + " could not be taken");
  }
  if (::setresuid(wanted.user, wanted.user, wanted.user) != 0) {
    return failed("user " + std::to_string(wanted.user) + " could not be taken");
  }
  if (!is(wanted)) return failed("the rights of before are still there", EPERM);
  return {};
}

outcome<> change_root(int directory) {
  if (::fchdir(directory) != 0) return failed("the root directory cannot be entered");
  if (::chroot(".") != 0) return failed("the root directory could not be changed");
  return {};
}

}  // namespace weir::life
