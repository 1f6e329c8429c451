#pragma once

#include <memory>
#include <string>
#include <utility>

#include "support/support.hpp"

namespace weir::testing {

/// Tests of what goes on in a context: one on the driver that is the parameter, and a file.
class context_test : public driver_test {
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

  std::string path() const { return directory_ / "file"; }

  temp_directory directory_;
  std::unique_ptr<io_context> context_;
};

}  // namespace weir::testing
