#include "interrupts.hpp"

#include <signal.h>

namespace weir::tools {
namespace {

// Set by the signal handler, looked at between blocks.
std::atomic<bool> asked_to_end = false;
static_assert(std::atomic<bool>::is_always_lock_free);
volatile sig_atomic_t interrupting_signal = 0;

void on_interrupt(int signal) {
  interrupting_signal = signal;
  asked_to_end = true;
}

}  // namespace

const std::atomic<bool>& interrupted = asked_to_end;

void listen_for_interrupts() {
  struct sigaction action{};
  action.sa_handler = on_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  ::sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before{};
    ::sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) ::sigaction(signal, &action, nullptr);
  }
}

int end_by_signal() {
  ::signal(interrupting_signal, SIG_DFL);
  ::raise(interrupting_signal);
  return 1;
}

}  // namespace weir::tools
