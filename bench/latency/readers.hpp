#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "peers/workload.hpp"
#include "weir/driver.hpp"

namespace weir::bench {

/// Reads when it is told to, and says which have been done: an event loop that is polled.
class reader {
 public:
  reader() = default;
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;
  virtual ~reader() = default;

  virtual void start(std::size_t number) = 0;
  /// Takes what is done, and calls for each.
  virtual void poll() = 0;
  /// Whether there is memory for one more: the workload's depth bounds it.
  virtual bool has_room() const = 0;

  void when_done(std::function<void(std::size_t number)> call) { call_ = std::move(call); }

 protected:
  void tell(std::size_t number) const { call_(number); }

 private:
  std::function<void(std::size_t)> call_;
};

std::unique_ptr<reader> weir_reader(const driver_options& options, const workload& work);

/// Null where libuv was missing when this was built. Its pool is the process's: the first that is
/// made chooses the size.
std::unique_ptr<reader> libuv_reader(unsigned pool, const workload& work);

}  // namespace weir::bench
