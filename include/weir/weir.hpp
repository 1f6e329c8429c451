#pragma once

/// Everything but what is heavy or for few: <weir/future.hpp>, <weir/daemon.hpp>. `file.hpp` and
/// `task.hpp` are what most programs need.
#include "weir/buffer.hpp"       // IWYU pragma: export
#include "weir/buffer_pool.hpp"  // IWYU pragma: export
#include "weir/callback.hpp"     // IWYU pragma: export
#include "weir/commit.hpp"       // IWYU pragma: export
#include "weir/driver.hpp"       // IWYU pragma: export
#include "weir/file.hpp"         // IWYU pragma: export
#include "weir/file_system.hpp"  // IWYU pragma: export
#include "weir/io_context.hpp"   // IWYU pragma: export
#include "weir/io_thread.hpp"    // IWYU pragma: export
#include "weir/measured.hpp"     // IWYU pragma: export
#include "weir/merging.hpp"      // IWYU pragma: export
#include "weir/operation.hpp"    // IWYU pragma: export
#include "weir/ready_file.hpp"   // IWYU pragma: export
#include "weir/request.hpp"      // IWYU pragma: export
#include "weir/result.hpp"       // IWYU pragma: export
#include "weir/sender.hpp"       // IWYU pragma: export
#include "weir/stop.hpp"         // IWYU pragma: export
#include "weir/stream.hpp"       // IWYU pragma: export
#include "weir/task.hpp"         // IWYU pragma: export
#include "weir/transfer.hpp"     // IWYU pragma: export
#include "weir/workers.hpp"      // IWYU pragma: export
