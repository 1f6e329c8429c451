#pragma once

#include <coroutine>
#include <exception>
#include <memory>
#include <string>
#include <utility>

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

/// Tests of streams: a context on the driver that is the parameter, and one file.
class stream_test : public driver_test {
 protected:
  void SetUp() override {
    driver_test::SetUp();
    if (!IsSkipped()) context_ = open_context(GetParam());
  }

  /// Around the parameter's driver: what every driver may do, short transfers above all.
  void use_faults(faulty_options options) {
    auto inner = open_driver_named(GetParam(), {.queue_depth = options.queue_depth});
    context_ = std::make_unique<io_context>(make_faulty(std::move(inner), options).value());
  }
  static faulty_options short_transfers(std::uint64_t seed) {
    faulty_options options = faults_of_timing(seed);
    options.short_transfer = 0.4;
    return options;
  }

  file open_for(int flags) { return file(*context_, open_file(path(), flags).release()); }
  std::string path() const { return directory_ / "file"; }

  temp_directory directory_;
  std::unique_ptr<io_context> context_;
};

}  // namespace weir::testing
