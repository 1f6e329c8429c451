// The drivers, and how one is chosen.
//
//   uring.cc          io_uring: everything native that the kernel has
//   uring_ring.*      the queues shared with the kernel; uring_prepare.* what is written into them;
//   uring_memory.*    and memory that the kernel keeps at hand; uring_restrict.* what the kernel is
//                     to refuse; uring_watch.hpp what the ring tells the driver of itself
//   linux_aio.cc      Linux AIO for O_DIRECT transfers, threads for the rest
//   threads.cc        a pool of threads and blocking calls
//   sync.cc           performs at submit: the smallest driver, and documentation
//   daemon.cc         "daemon:NAME": a daemon's, in another process; opened only if asked for
//   simulated.cc      "simulated", "simulated:SEED": a disk in memory, with faults; the same
//   worker_pool.*     the threads that the others share
//   readiness.*       what those without a ring wait on: polls, timeouts, and being woken
//   poll_set.*        polls by epoll; poll_list.hpp which are in flight
//   timer_queue.*     timeouts, for all of them
//   event_fd.*        what wakes a driver
//   refusal.*         why one is not available, in words
//
// To add one: its file, its open_ function in drivers.hpp, a row here, its line in CMakeLists.txt.
//
// Drivers that wrap a driver have a table of their own:
//
//   merging.cc      merges adjacent transfers; adjacency.* finds them
//   faulty.cc       injects faults
//   measured.cc     counts, into route_counters.hpp by the clock of tick_clock.*; made by hand
//   only,
//                   because it needs something to count into (../measurements.*)
//   operation_table.hpp  what a wrapper remembers of an operation until it comes back
//
// To add one: its file, its public header with its make_ function, a row here, its two lines in
// CMakeLists.txt.

#include "drivers/drivers.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <new>
#include <optional>
#include <ranges>
#include <utility>

#include "drivers/refusal.hpp"
#include "weir/daemon.hpp"
#include "weir/merging.hpp"
#include "weir/simulated.hpp"

namespace weir {
namespace {

using opened_or_error = result<std::unique_ptr<driver>>;

struct row {
  std::string_view name;
  detail::opened_driver (*open)(const detail::driver_limits&);
  bool by_default;  // tried, in this order, when none is asked for
};

constexpr std::array table = {
    row{"uring", &detail::open_uring, true}, row{"linux_aio", &detail::open_linux_aio, true},
    row{"threads", &detail::open_threads, true},
    row{"sync", &detail::open_sync, false},  // blocks its context: only for those who ask for it
};

/// "name:rest" is what `rest` names, wrapped.
struct wrapper_row {
  std::string_view name;
  opened_or_error (*wrap)(std::unique_ptr<driver> inner, const detail::driver_limits&);
};

constexpr std::array wrappers = {
    wrapper_row{"merging",
                [](std::unique_ptr<driver> inner, const detail::driver_limits& limits) {
                  return make_merging(std::move(inner), {.queue_depth = limits.queue_depth});
                }},
    wrapper_row{"faulty", &detail::wrap_faulty},
};

/// Each is a call within the other, and takes memory for a whole queue.
constexpr std::size_t wrappers_most = 8;

constexpr std::string_view client_name = "daemon";
constexpr std::string_view simulated_name = "simulated";

constexpr unsigned default_threads = 16;

std::optional<detail::driver_limits> limits_of(const driver_options& options) noexcept {
  if (options.queue_depth == 0 || options.queue_depth > detail::max_queue_depth) {
    return std::nullopt;
  }
  return detail::driver_limits{.queue_depth = options.queue_depth,
                               .threads = options.threads != 0 ? options.threads : default_threads,
                               .sqpoll_idle_ms = options.sqpoll_idle_ms,
                               .restricted = options.restricted};
}

std::string name_wanted(const driver_options& options) {
  std::string name(options.name);
  if (!name.empty() && !name.ends_with(':')) return name;
  const char* from_environment = std::getenv("WEIR_DRIVER");
  return from_environment != nullptr ? name + from_environment : name;
}

driver_report unknown(const char* kind, std::string_view name, const auto& rows) {
  std::string advice = "choose one of";
  for (const auto& each : rows) advice.append(" ").append(each.name);
  return {.error = make_error_code(errc::no_driver),
          .reason = std::string("there is no ") + kind + " '" + std::string(name) + "'",
          .advice = std::move(advice)};
}

// What a driver allocates for itself may be lacking like what the kernel allocates for it.
detail::opened_driver open_row(const row& which, const detail::driver_limits& limits) {
  try {
    return which.open(limits);
  } catch (const std::bad_alloc&) {
    return std::unexpected(detail::refusal{"new", ENOMEM});
  }
}

// With no name, the first by default that is available.
opened_or_error open_unwrapped(std::string_view name, const detail::driver_limits& limits,
                               std::vector<driver_report>& tried) {
  std::error_code last = make_error_code(errc::no_driver);
  for (const row& candidate : table) {
    if (name.empty() ? !candidate.by_default : candidate.name != name) continue;
    auto opened = open_row(candidate, limits);
    if (opened) {
      tried.push_back({.name = candidate.name, .available = true});
      return std::move(*opened);
    }
    tried.push_back(detail::explain(candidate.name, opened.error()));
    last = tried.back().error;
    if (!detail::means_unavailable(opened.error())) break;
  }
  if (last == errc::no_driver) {
    tried.push_back(unknown("driver", name, table));
    tried.back().advice += "; weir doctor says which are available here";
  }
  return std::unexpected(last);
}

opened_or_error wrap(const wrapper_row& with, opened_or_error inner,
                     const detail::driver_limits& limits, std::vector<driver_report>& tried) {
  if (!inner) return inner;
  auto made = with.wrap(std::move(*inner), limits);
  if (!made) {
    tried.push_back({.name = with.name,
                     .error = made.error(),
                     .reason = "it could not be made: " + made.error().message(),
                     .advice = "do without it, or ask for a smaller queue depth"});
  }
  return made;
}

// Its report's name is the kind's: which daemon is in the reason.
opened_or_error open_client(std::string_view name, const detail::driver_limits& limits,
                            std::vector<driver_report>& tried) {
  auto path = daemon_socket_path(name);
  if (!path) {
    tried.push_back(
        {.name = client_name,
         .error = path.error(),
         .reason = "'" + std::string(name) + "' names no daemon: " + path.error().message(),
         .advice = "give the name that the daemon was started with (weir serve --name), "
                   "or the path of its socket"});
    return std::unexpected(path.error());
  }
  auto opened = detail::open_daemon(std::string(name), limits);
  if (opened) {
    tried.push_back({.name = client_name, .available = true});
    return std::move(*opened);
  }
  tried.push_back(detail::explain_client(*path, opened.error()));
  return std::unexpected(tried.back().error);
}

// A disk of its own, without faults, that is gone with the driver.
opened_or_error open_simulated_disk(std::string_view seed, const detail::driver_limits& limits,
                                    std::vector<driver_report>& tried) {
  simulated_options options{.trace = false};
  const auto [end, error] = std::from_chars(seed.begin(), seed.end(), options.seed);
  if (!seed.empty() && (error != std::errc{} || end != seed.end())) {
    tried.push_back({.name = simulated_name,
                     .error = detail::errno_code(EINVAL),
                     .reason = "'" + std::string(seed) + "' is no seed",
                     .advice = "give a number: simulated:7"});
    return std::unexpected(tried.back().error);
  }
  const auto disk = simulated_disk::make(options);
  if (!disk) return std::unexpected(disk.error());
  auto opened = disk->open_driver(limits.queue_depth);
  if (opened) {
    tried.push_back({.name = simulated_name, .available = true});
    return opened;
  }
  tried.push_back({.name = simulated_name,
                   .error = opened.error(),
                   .reason = "eventfd(2) answered: " + opened.error().message(),
                   .advice = "raise the limit of open files (ulimit -n)"});
  return opened;
}

const wrapper_row* find_wrapper(std::string_view name) noexcept {
  for (const wrapper_row& each : wrappers) {
    if (each.name == name) return &each;
  }
  return nullptr;
}

driver_report wrapped_too_often() {
  return {.error = make_error_code(errc::no_driver),
          .reason = "a driver is wrapped in more than " + std::to_string(wrappers_most) + " others",
          .advice = "do with fewer"};
}

// What is left of a name once its wrappers are taken off.
opened_or_error open_innermost(std::string_view name, const detail::driver_limits& limits,
                               std::vector<driver_report>& tried) {
  const std::size_t colon = std::min(name.find(':'), name.size());
  const std::string_view kind = name.substr(0, colon);
  const std::string_view rest = name.substr(std::min(colon + 1, name.size()));
  if (kind == client_name && colon != name.size()) return open_client(rest, limits, tried);
  if (kind == simulated_name) return open_simulated_disk(rest, limits, tried);
  return open_unwrapped(name, limits, tried);
}

opened_or_error open_by_name(std::string_view name, const detail::driver_limits& limits,
                             std::vector<driver_report>& tried) {
  const auto refused = [&tried](driver_report why) {
    tried.push_back(std::move(why));
    return std::unexpected(tried.back().error);
  };
  std::vector<const wrapper_row*> outermost_first;
  for (std::size_t colon = name.find(':'); colon != std::string_view::npos;
       colon = name.find(':')) {
    const std::string_view wanted = name.substr(0, colon);
    if (wanted == client_name || wanted == simulated_name) break;
    name.remove_prefix(colon + 1);
    outermost_first.push_back(find_wrapper(wanted));
    if (outermost_first.back() == nullptr) {
      return refused(unknown("driver that wraps a driver", wanted, wrappers));
    }
    if (outermost_first.size() > wrappers_most) return refused(wrapped_too_often());
  }
  auto opened = open_innermost(name, limits, tried);
  for (const wrapper_row* with : std::views::reverse(outermost_first)) {
    opened = wrap(*with, std::move(opened), limits, tried);
  }
  return opened;
}

}  // namespace

result<std::unique_ptr<driver>> open_driver(const driver_options& options) {
  std::vector<driver_report> tried;
  return open_driver(options, tried);
}

result<std::unique_ptr<driver>> open_driver(const driver_options& options,
                                            std::vector<driver_report>& tried) {
  const auto limits = limits_of(options);
  if (!limits) return std::unexpected(detail::errno_code(EINVAL));
  return open_by_name(name_wanted(options), *limits, tried);
}

std::vector<driver_report> probe_drivers() {
  std::vector<driver_report> tried;
  for (const row& candidate : table) {
    // Opened to see whether it can be; its error, if any, is in the report.
    const auto opened = open_driver({.name = candidate.name}, tried);
  }
  return tried;
}

}  // namespace weir
