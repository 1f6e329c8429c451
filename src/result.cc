#include "weir/result.hpp"

#include <string>

namespace weir {
namespace {

class category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "weir"; }

  std::string message(int value) const override {
    switch (static_cast<errc>(value)) {
      case errc::short_read:
        return "the file ended before the whole range was read";
      case errc::daemon_lost:
        return "the daemon went away before it answered";
      case errc::no_driver:
        return "there is no driver of that name";
      case errc::no_progress:
        return "a write moved no byte and gave no reason";
      case errc::too_long:
        return "no delimiter came within the limit";
    }
    return "unknown weir error " + std::to_string(value);
  }
};

}  // namespace

const std::error_category& error_category() noexcept {
  static const category instance;
  return instance;
}

}  // namespace weir
