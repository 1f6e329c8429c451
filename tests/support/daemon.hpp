#pragma once

#include <string>
#include <string_view>

namespace weir::testing {

/// The socket of a daemon that serves everything (`weir serve --root / --allow-write`), as a
/// process. Started when first asked for; it ends with this process, however that ends. Throws
/// std::runtime_error where it cannot be started.
const std::string& socket_of_test_daemon();

}  // namespace weir::testing
