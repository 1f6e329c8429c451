#pragma once

#include <sys/types.h>

#include <string>

#include "daemon/life/outcome.hpp"

namespace weir::life {

/// Whose rights a daemon has.
struct identity {
  uid_t user;
  gid_t group;
};

/// By names or numbers; no group is the user's own. EPERM for root and for group 0: to become them
/// is no giving up. ENOENT for who does not exist.
outcome<identity> find_identity(const std::string& user, const std::string& group);

/// Becomes that user for good, with no other groups, and makes sure of it. EPERM for who may not.
/// Before there are threads.
outcome<> become(const identity& wanted);

/// Makes an open directory the root (chroot(2)). CAP_SYS_CHROOT.
outcome<> change_root(int directory);

}  // namespace weir::life
