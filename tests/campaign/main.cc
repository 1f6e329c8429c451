// The fault campaign: what real drivers do when the system fails them (docs/campaign.md).
//
//   attempt.*    a try in a process of its own: who starts and watches it, and what that does
//   account.hpp  what a try says, in memory that outlives it
//   trial.*      what a fault has at hand; operations that are counted
//   workload.*   what goes on while a fault strikes, and what it must have done
//   resources.*  what must not leak; heap.* counts allocations
//   disk.*       file systems and devices of a try's own
//   faults/      the faults, a file for each, and their table
//   report.*     the table that is printed
//
// campaign [--long] [--fault NAME] [--driver NAME] [--tries N] [--seed N] [--list]

#include <algorithm>
#include <charconv>
#include <iostream>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "campaign/attempt.hpp"
#include "campaign/fault.hpp"
#include "campaign/report.hpp"
#include "support/support.hpp"

namespace weir::campaign {
namespace {

struct options {
  bool in_full = false;
  bool list = false;
  std::string_view fault;   // every one, if empty
  std::string_view driver;  // the same
  unsigned tries = 0;       // as the form has it, if 0
  unsigned seed = 1;
};

bool parse_number(std::string_view word, unsigned& into) {
  const auto parsed = std::from_chars(word.data(), word.data() + word.size(), into);
  return parsed.ec == std::errc{} && parsed.ptr == word.data() + word.size();
}

std::optional<options> parse(std::span<char* const> arguments) {
  options asked;
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const std::string_view name = arguments[i];
    const bool has_value = i + 1 < arguments.size();
    if (name == "--long") {
      asked.in_full = true;
    } else if (name == "--list") {
      asked.list = true;
    } else if (name == "--fault" && has_value) {
      asked.fault = arguments[++i];
    } else if (name == "--driver" && has_value) {
      asked.driver = arguments[++i];
    } else if (name == "--tries" && has_value && parse_number(arguments[i + 1], asked.tries)) {
      ++i;
    } else if (name == "--seed" && has_value && parse_number(arguments[i + 1], asked.seed)) {
      ++i;
    } else {
      return std::nullopt;
    }
  }
  return asked;
}

row strike_driver(const fault& what, std::string_view driver, const options& asked) {
  row sum{.fault = what.name, .driver = driver};
  const unsigned usual = asked.in_full ? what.long_tries : what.short_tries;
  const unsigned tries = asked.tries != 0 ? asked.tries : usual;
  for (unsigned i = 0; i < tries && sum.skipped.empty(); ++i) {
    sum.add(make_attempt(what, driver, i, asked.seed + i, asked.in_full));
  }
  return sum;
}

std::vector<row> strike_all(const options& asked) {
  std::vector<row> rows;
  for (const fault* what : all_faults()) {
    if (!asked.fault.empty() && asked.fault != what->name) continue;
    for (const std::string_view driver : testing::driver_names) {
      if (!asked.driver.empty() && asked.driver != driver) continue;
      rows.push_back(strike_driver(*what, driver, asked));
      const std::string_view verdict = rows.back().is_clean() ? "clean" : "NOT clean";
      std::cerr << what->name << ", " << driver << ": " << verdict << '\n';
    }
  }
  return rows;
}

int list() {
  for (const fault* each : all_faults()) std::cout << each->name << ": " << each->does << '\n';
  return 0;
}

int run(const options& asked) {
  if (asked.list) return list();
  const std::vector<row> rows = strike_all(asked);
  print_table(std::cout, rows);
  std::cout << '\n';
  if (rows.empty()) std::cerr << "there is no such fault, or no such driver\n";
  return !rows.empty() && std::ranges::all_of(rows, &row::is_clean) ? 0 : 1;
}

}  // namespace
}  // namespace weir::campaign

int main(int argc, char** argv) {
  using namespace weir::campaign;
  const std::span arguments(argv, static_cast<std::size_t>(argc));
  if (is_child(arguments)) return be_child(arguments);
  const auto asked = parse(arguments);
  if (!asked) {
    std::cerr << "campaign [--long] [--fault NAME] [--driver NAME] [--tries N] [--seed N] "
                 "[--list]\n";
    return 2;
  }
  return run(*asked);
}
