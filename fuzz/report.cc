// Measurements that a benchmark has written as JSON, read again and shown in each form.

#include <cstdint>
#include <string>
#include <string_view>

#include "report/suite.hpp"
#include "support/promise.hpp"

namespace {

using namespace weir::report;
using weir::fuzzing::promise;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  const auto read = suite_of(std::string_view(input));
  if (!read) {
    promise(!read.error().empty());
    return 0;
  }
  for (const question& each : read->questions) promise(!text_of(each).empty());
  promise(!html_of(page_of(*read)).empty());
  const auto again = suite_of(json_of(*read));
  promise(again && *again == *read);
  return 0;
}
