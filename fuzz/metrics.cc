// What `weir top` makes of what a daemon says that it has counted: two texts, with a NUL between
// them, as of one second after the other.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "support/promise.hpp"
#include "support/texts.hpp"
#include "top/samples.hpp"
#include "top/view.hpp"

namespace {

using namespace weir::tools::top;
using weir::fuzzing::promise;

snapshot taken_at(std::chrono::seconds when, std::string_view text) {
  return {.taken = std::chrono::steady_clock::time_point(when), .samples = parse_samples(text)};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  std::string_view text = input;
  const snapshot before = taken_at(std::chrono::seconds(1), weir::fuzzing::next_text(text));
  const snapshot now = taken_at(std::chrono::seconds(2), text);
  promise(shown(before, now).size() >= 5);
  promise(nlohmann::json::accept(as_json(before, now)));
  return 0;
}
