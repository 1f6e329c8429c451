#include "weir/io_thread.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <new>
#include <system_error>
#include <utility>

#include "misuse.hpp"
#include "signal_mask.hpp"

namespace weir {
namespace {

std::unique_ptr<driver> opened_or_thrown(const driver_options& options) {
  auto opened = open_driver(options);
  if (!opened) throw std::system_error(opened.error(), "no driver for an io_thread");
  return std::move(*opened);
}

cpu_set_t usable_cores() noexcept {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  ::sched_getaffinity(0, sizeof cores, &cores);
  return cores;
}

/// The number of the `index`-th of the cores, counted around.
unsigned core_of(const cpu_set_t& cores, unsigned index) noexcept {
  unsigned skip = index % static_cast<unsigned>(std::max(CPU_COUNT(&cores), 1));
  unsigned core = 0;
  while (core + 1 < CPU_SETSIZE && (!CPU_ISSET(core, &cores) || skip-- != 0)) ++core;
  return core;
}

}  // namespace

// A time that has come already: unlike a no-op it takes no room in the queue, which may be full of
// what never ends.
io_thread::last_operation::last_operation() noexcept
    : operation(
          {}, [](operation& op) noexcept { static_cast<last_operation&>(op).completed = true; }) {}

io_thread::io_thread(const driver_options& options) : io_thread(opened_or_thrown(options)) {}

io_thread::io_thread(std::unique_ptr<driver> driver)
    : context_(std::make_unique<io_context>(std::move(driver))) {
  const detail::all_signals_blocked during_start;
  thread_ = std::thread([this] { run(); });
  ::pthread_setname_np(thread_.native_handle(), "weir-context");
}

result<std::unique_ptr<io_thread>> io_thread::open(const driver_options& options) noexcept {
  try {
    auto opened = open_driver(options);
    if (!opened) return std::unexpected(opened.error());
    return std::make_unique<io_thread>(std::move(*opened));
  } catch (const std::system_error& refused) {
    return std::unexpected(refused.code());
  } catch (const std::bad_alloc&) {
    return std::unexpected(make_error_code(std::errc::not_enough_memory));
  }
}

io_thread::~io_thread() { end(ending::cancel); }

void io_thread::finish() noexcept { end(ending::drain); }

void io_thread::end(ending how) noexcept {
  if (!thread_.joinable()) return;
  if (thread_.get_id() == std::this_thread::get_id()) {
    detail::misuse("an io_thread was ended from its own thread; end it from another");
  }
  last_.how = how;
  context_->start(last_);
  thread_.join();
}

result<void> io_thread::run_on(unsigned core) noexcept {
  cpu_set_t one;
  CPU_ZERO(&one);
  if (core < CPU_SETSIZE) CPU_SET(core, &one);
  const int error = ::pthread_setaffinity_np(thread_.native_handle(), sizeof one, &one);
  if (error != 0) return std::unexpected(detail::errno_code(error));
  return {};
}

void io_thread::run() noexcept {
  while (!last_.completed) context_->dispatch(true);
  if (last_.how == ending::drain) {
    context_->run();
  } else {
    context_->cancel_and_drain();
  }
}

io_pool::io_pool(unsigned threads, const driver_options& options, bool pin) {
  const cpu_set_t cores = usable_cores();
  const auto count = threads != 0 ? threads : static_cast<unsigned>(std::max(CPU_COUNT(&cores), 1));
  threads_.reserve(count);
  for (unsigned i = 0; i < count; ++i) {
    threads_.push_back(std::make_unique<io_thread>(options));
    if (!pin) continue;
    if (auto pinned = threads_.back()->run_on(core_of(cores, i)); !pinned) {
      throw std::system_error(pinned.error(), "an io_pool's thread could not be pinned to a core");
    }
  }
}

void io_pool::finish() noexcept {
  for (const auto& each : threads_) each->finish();
}

}  // namespace weir
