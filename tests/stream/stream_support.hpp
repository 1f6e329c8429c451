#pragma once

#include <coroutine>
#include <exception>
#include <string>
#include <utility>

#include "support/context_test.hpp"
#include "support/support.hpp"

namespace weir::testing {

/// A coroutine that runs up to where it waits, and is destroyed with this, wherever it is then.
class begun {
 public:
  struct promise_type {
    begun get_return_object() noexcept {
      return begun(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
  begun(const begun&) = delete;
  begun& operator=(const begun&) = delete;
  ~begun() { frame_.destroy(); }

 private:
  explicit begun(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
  std::coroutine_handle<promise_type> frame_;
};

/// Tests of streams.
class stream_test : public context_test {
 protected:
  static faulty_options short_transfers(std::uint64_t seed) {
    faulty_options options = faults_of_timing(seed);
    options.short_transfer = 0.4;
    return options;
  }

  file open_for(int flags) { return file(*context_, open_file(path(), flags).release()); }
};

}  // namespace weir::testing
