#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "peers/workload.hpp"
#include "support/contestant.hpp"
#include "weir/driver.hpp"

/// Who does a workload: weir, and those that it is measured beside. Each keeps the workload's depth
/// in flight, into as many buffers, and checks every answer.
///
///   weir.cc        coroutines on a driver
///   raw_ring.cc    liburing by hand          raw_aio.cc     libaio by hand
///   calls.cc       pread(2) and its kind, in one thread or in several
///   posix_aio.cc   glibc's aio_read          fio.cc         fio, a process of its own
///   asio.cc        its files on io_uring     libuv.cc       its pool of threads
///
/// A library that was missing when this was built makes an absent contestant.
namespace weir::bench {

/// As many coroutines as the depth, each with one transfer after another. `options` names the
/// driver.
contestant weir_on(const driver_options& options, const workload& work, timed_by by,
                   preparation before = {});

enum class tuning {
  plain,       ///< no flags, nothing registered
  tuned,       ///< SINGLE_ISSUER, DEFER_TASKRUN, registered files and buffers
  by_workers,  ///< plain, but kernel workers carry everything out (IOSQE_ASYNC)
};
contestant raw_ring(tuning how, const workload& work, timed_by by, preparation before = {});

contestant raw_aio(const workload& work, timed_by by, preparation before = {});

/// A loop, one call at a time, through the workload's buffers in turn.
enum class call { pread, preadv2_nowait };
contestant calls(call which, const workload& work, timed_by by, preparation before = {});

/// As many threads as the depth, each with a loop of calls: what a pool would do if it cost
/// nothing.
contestant threads(const workload& work, timed_by by, preparation before = {});

contestant posix_aio(const workload& work, timed_by by, preparation before = {});

/// A coroutine for each in flight, one random_access_file for each file. Reads only.
contestant asio_files(const workload& work, timed_by by, preparation before = {});

/// With so many threads in its pool; in a process of its own, since the pool is the process's.
contestant libuv(unsigned pool, const workload& work, timed_by by, preparation before = {});

/// Measures itself, by wall time, on the first file, which another process can open as `path`.
contestant fio(std::string_view engine, const workload& work, const std::string& path,
               std::chrono::duration<double> slice);

}  // namespace weir::bench
