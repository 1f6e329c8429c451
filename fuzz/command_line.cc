// The command line of `weir`: arguments with a NUL between them. What they ask for is not done.

#include "command_line.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "support/promise.hpp"
#include "support/texts.hpp"

namespace {

using weir::fuzzing::promise;

std::vector<std::string> arguments_in(std::string_view text) {
  std::vector<std::string> arguments = {"weir"};
  while (!text.empty()) arguments.emplace_back(weir::fuzzing::next_text(text));
  return arguments;
}

/// To describe it takes longer than to understand it, so that is done once.
class command {
 public:
  command() { weir::tools::describe_command(app_, chosen_); }

  weir::tools::understanding understand(const std::vector<std::string>& arguments) {
    std::vector<const char*> pointers;
    for (const std::string& each : arguments) pointers.push_back(each.c_str());
    chosen_ = nullptr;
    const int count = static_cast<int>(pointers.size());
    return weir::tools::understand(app_, count, pointers.data(), chosen_);
  }
  bool chosen() const { return chosen_ != nullptr; }

 private:
  weir::tools::action chosen_;
  CLI::App app_{"Asynchronous file I/O, from the command line", "weir"};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto arguments = arguments_in({reinterpret_cast<const char*>(data), size});
  static command described;
  const auto understood = described.understand(arguments);
  if (understood.status != 0) {
    promise(understood.status == weir::tools::misused && !understood.complaint.empty());
  } else {
    promise(understood.complaint.empty() && (described.chosen() || !understood.answer.empty()));
  }
  return 0;
}
