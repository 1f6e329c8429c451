#pragma once

#include <future>
#include <utility>

#include "weir/callback.hpp"

namespace weir {

/// Begins `what` and returns a future of what it yields: `result<std::size_t>` for a read. Errors
/// are in the value; the future throws nothing of its own. Any thread may call it; another thread
/// than the one that waits must drive the context (see <weir/io_thread.hpp>). Dropping the future
/// abandons the operation, which goes on; borrowed memory stays valid until it has ended.
/// Throws std::bad_alloc, and has begun nothing then.
template <sender Sender>
std::future<typename Sender::value_type> as_future(Sender what) {
  std::promise<typename Sender::value_type> promise;
  auto future = promise.get_future();
  start(std::move(what), [promise = std::move(promise)](typename Sender::value_type value) mutable {
    promise.set_value(std::move(value));
  });
  return future;
}

}  // namespace weir
