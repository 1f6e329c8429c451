#pragma once

#include "daemon/life/outcome.hpp"

namespace weir::life {

/// Allows as many descriptors as the hard limit does: a transfer takes up to three.
outcome<> raise_descriptor_limit();

/// No new rights by an exec, no core file, no debugger of the same user's. No umask either: from
/// here on whoever has a file made says who may read it.
outcome<> harden();

/// Forgets what the starter's environment said. Not while other threads may ask it.
outcome<> clear_environment();

/// Whether this program was built with a sanitizer, which needs more than a daemon may have.
extern const bool is_sanitized;

}  // namespace weir::life
