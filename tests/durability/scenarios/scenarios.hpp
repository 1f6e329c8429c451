#pragma once

#include "durability/scenario.hpp"

/// One function a scenario; `scenarios.cc` has the tables.
namespace weir::scenarios {

/// Group commits by concurrent coroutines on several new files, of one write and of several.
scenario group_commits();
/// Transfers with a policy, durable by themselves or by a sync, also past the page cache.
scenario policies();
/// replace_file in a new directory: old or new, never torn.
scenario replacing();
/// Names made, renamed, exchanged and removed, each durable by its directory's sync.
scenario names();
/// A buffered stream, flushed now and then.
scenario streams();
/// Files that behave like sockets: written behind, durable on request.
scenario ready_files_written();

/// The new file is durable, and its name is not.
scenario wrong_without_directory_sync();
/// The name is durable, and the new file is not.
scenario wrong_without_data_sync();
/// A commit that asks for no durability, taken for one.
scenario wrong_without_barrier();

}  // namespace weir::scenarios
