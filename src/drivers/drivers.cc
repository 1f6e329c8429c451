// The drivers, and how one is chosen.
//
//   uring.cc          io_uring: everything native that the kernel has
//   uring_ring.*      the queues shared with the kernel; uring_prepare.* what is written into them;
//   uring_memory.*    and memory that the kernel keeps at hand
//   linux_aio.cc      Linux AIO for O_DIRECT transfers, threads for the rest
//   threads.cc        a pool of threads and blocking calls
//   sync.cc           performs at submit: the smallest driver, and documentation
//   worker_pool.*     the threads that the others share
//   readiness.*       what those without a ring wait on: polls, timeouts, and being woken
//   poll_set.*        polls by epoll; poll_list.hpp which are in flight
//   timer_queue.*     timeouts, for all of them
//   event_fd.*        what wakes a driver
//   refusal.*         why one is not available, in words
//
// To add one: its file, its open_ function in drivers.hpp, a row here, its line in CMakeLists.txt.

#include "drivers/drivers.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>

#include "drivers/refusal.hpp"

namespace weir {
namespace {

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

constexpr unsigned max_queue_depth = 16384;  // half of the largest completion queue of io_uring
constexpr unsigned default_threads = 16;

std::optional<detail::driver_limits> limits_of(const driver_options& options) noexcept {
  if (options.queue_depth == 0 || options.queue_depth > max_queue_depth) return std::nullopt;
  return detail::driver_limits{.queue_depth = options.queue_depth,
                               .threads = options.threads != 0 ? options.threads : default_threads};
}

std::string_view name_wanted(const driver_options& options) {
  if (!options.name.empty()) return options.name;
  const char* from_environment = std::getenv("WEIR_DRIVER");
  return from_environment != nullptr ? from_environment : "";
}

driver_report unknown(std::string_view name) {
  std::string advice = "choose one of";
  for (const row& each : table) advice.append(" ").append(each.name);
  advice += "; weir doctor says which are available here";
  return {.error = make_error_code(errc::no_driver),
          .reason = "there is no driver '" + std::string(name) + "'",
          .advice = std::move(advice)};
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
  const std::string_view name = name_wanted(options);
  std::error_code last = make_error_code(errc::no_driver);
  for (const row& candidate : table) {
    if (name.empty() ? !candidate.by_default : candidate.name != name) continue;
    auto opened = candidate.open(*limits);
    if (opened) {
      tried.push_back({.name = candidate.name, .available = true});
      return std::move(*opened);
    }
    tried.push_back(detail::explain(candidate.name, opened.error()));
    last = tried.back().error;
    if (!detail::means_unavailable(opened.error())) break;
  }
  if (last == errc::no_driver) tried.push_back(unknown(name));
  return std::unexpected(last);
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
