#pragma once

#include <atomic>

namespace weir::tools {

/// Whether SIGINT, SIGTERM or SIGHUP has asked for an end, once they are listened for.
extern const std::atomic<bool>& interrupted;

/// From now on the first of these signals sets `interrupted`; a second one, if the disk does not
/// even answer, ends the program at once. What is ignored stays so, as nohup(1) asks.
void listen_for_interrupts();

/// Ends the program by the signal that interrupted it, as whoever started it expects.
int end_by_signal();

}  // namespace weir::tools
