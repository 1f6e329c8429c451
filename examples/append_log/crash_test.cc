// The log on a disk that lies: twice with something left out, which must be found, then as it is,
// which must survive.
//
//     append_log_crash_test [--seeds COUNT] [--show]
//
// COUNT for the log as it is, 2000 if not given; --show prints what was found, traces and all.
#include <array>
#include <charconv>
#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>

#include "log.hpp"
#include <weir/simulated.hpp>

namespace {

using append_log::log;
using append_log::log_options;
using append_log::record;
using weir::result;
using weir::simulation;
using weir::task;

// --- What is appended ----------------------------------------------------------------------------

constexpr unsigned appenders = 3;
constexpr unsigned records_each = 4;

using texts = std::array<std::array<std::string, records_each>, appenders>;

/// They say whose they are, and no two are the same. Some are longer than a page, and most end
/// within a sector.
texts make_texts() {
  texts made;
  for (unsigned appender = 0; appender < appenders; ++appender) {
    for (unsigned n = 0; n < records_each; ++n) {
      const std::size_t length = 20 + (appender * 1300 + n * 2477) % 5000;
      std::string text = std::to_string(appender) + ':' + std::to_string(n) + ':';
      while (text.size() < length) text += static_cast<char>('a' + (text.size() * 7 + n) % 26);
      made[appender][n] = std::move(text);
    }
  }
  return made;
}

/// An appender's n-th record.
const std::string& text_of(unsigned appender, unsigned n) {
  static const texts all = make_texts();
  return all[appender][n];
}

/// What the log has promised.
struct notes {
  std::array<unsigned, appenders> acknowledged{};
};

// --- The scenario --------------------------------------------------------------------------------

task<void> append_all(log& to, unsigned appender, notes& promised) {
  for (unsigned n = promised.acknowledged[appender]; n < records_each; ++n) {
    const std::string& text = text_of(appender, n);
    const result<std::uint64_t> appended = co_await to.append(std::as_bytes(std::span(text)));
    if (!appended) co_return;  // the power has failed
    promised.acknowledged[appender] = n + 1;
  }
}

// Small segments, so that there are some.
log_options options_with(append_log::precautions take) {
  return {.segment_size = 12'000, .take = take};
}

task<void> fill_log(simulation with, notes& promised, append_log::precautions take) {
  auto opened = co_await log::open(with.context, "/", [](const record&) {}, options_with(take));
  if (!opened) co_return;
  log& records = **opened;
  std::vector<task<void>> all;
  for (unsigned i = 0; i < appenders; ++i) all.push_back(append_all(records, i, promised));
  co_await weir::when_all(std::move(all));
  // A power failure is not the log's to report.
  [[maybe_unused]] const result<void> closed = co_await records.close();
}

// --- The check -----------------------------------------------------------------------------------

/// What a recovery found: each appender's records must be its first ones, in order.
class replayed {
 public:
  void take(const record& each) {
    const std::string_view text(reinterpret_cast<const char*>(each.bytes.data()),
                                each.bytes.size());
    for (unsigned i = 0; i < appenders; ++i) {
      if (count_[i] < records_each && text == text_of(i, count_[i])) {
        ++count_[i];
        return;
      }
    }
    if (wrong_.empty()) {
      wrong_ = "record " + std::to_string(each.sequence) + " is what nobody appended then: \"" +
               std::string(text.substr(0, 8)) + "\"…";
    }
  }

  std::string wrong(const notes& promised) const {
    if (!wrong_.empty()) return wrong_;
    for (unsigned i = 0; i < appenders; ++i) {
      if (count_[i] < promised.acknowledged[i]) {
        return "of appender " + std::to_string(i) + ", " +
               std::to_string(promised.acknowledged[i]) + " records were acknowledged, and " +
               std::to_string(count_[i]) + " are there";
      }
    }
    return {};
  }

  const std::array<unsigned, appenders>& count() const noexcept { return count_; }

 private:
  std::array<unsigned, appenders> count_{};
  std::string wrong_;
};

/// The log with what it found, if that is as promised; else "what is wrong" of it.
struct recovered {
  std::string wrong;
  std::unique_ptr<log> records;
  std::array<unsigned, appenders> count{};
};

task<recovered> recover(weir::io_context& context, const notes& promised,
                        append_log::precautions take) {
  replayed found;
  auto opened = co_await log::open(
      context, "/", [&](const record& each) { found.take(each); }, options_with(take));
  if (!opened)
    co_return recovered{.wrong = "the log cannot be opened: " + opened.error().message()};
  co_return recovered{found.wrong(promised), *std::move(opened), found.count()};
}

/// Everything was acknowledged, so everything is there.
task<std::string> find_all(weir::io_context& context, append_log::precautions take) {
  notes all;
  all.acknowledged.fill(records_each);
  recovered found = co_await recover(context, all, take);
  if (!found.wrong.empty()) co_return "later: " + found.wrong;
  const result<void> closed = co_await found.records->close();
  co_return closed ? "" : closed.error().message();
}

/// What a check finds on a disk whose power has failed and is back.
std::string after_power_failure(simulation with, append_log::precautions take) {
  weir::simulated_disk left = with.disk.power_on();
  weir::io_context context(left.open_driver().value());
  return context.run(find_all(context, take));
}

/// How often the power fails: in the scenario; and after the check's own appends.
enum class power_fails : bool { once, twice };

/// What was promised is there; and the log goes on: what is appended now is there, too, the next
/// time, together with what the recovery found.
task<std::string> recover_and_go_on(simulation with, notes promised, append_log::precautions take,
                                    power_fails often) {
  recovered found = co_await recover(with.context, promised, take);
  if (!found.wrong.empty()) co_return found.wrong;
  promised.acknowledged = found.count;
  for (unsigned i = 0; i < appenders; ++i) co_await append_all(*found.records, i, promised);
  if (often == power_fails::twice) co_return after_power_failure(with, take);
  const result<void> closed = co_await found.records->close();
  if (!closed) co_return closed.error().message();
  co_return co_await find_all(with.context, take);
}

// --- The test ------------------------------------------------------------------------------------

weir::exploration crash(append_log::precautions take, std::uint64_t seeds, power_fails often) {
  return weir::explore<notes>(
      {.count = seeds},
      [take](simulation with, notes& promised) { return fill_log(with, promised, take); },
      [take, often](simulation with, const notes& promised) {
        return recover_and_go_on(with, promised, take, often);
      });
}

struct command {
  std::uint64_t seeds = 2000;
  bool show = false;
};

/// Whether it came out as it must.
bool must_fail(std::string_view left_out, append_log::precautions take, const command& asked) {
  const weir::exploration found = crash(take, 1000, power_fails::once);
  std::cout << left_out << ": ";
  if (found.survived()) {
    std::cout << "NOT found; " << found.report();
    return false;
  }
  std::cout << "found at seed " << found.seeds << ", after " << found.runs << " runs\n  "
            << found.failure->what << '\n';
  if (asked.show) std::cout << found.report();
  return true;
}

bool must_survive(const command& asked) {
  const auto begin = std::chrono::steady_clock::now();
  const weir::exploration found = crash({}, asked.seeds, power_fails::twice);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::cout << "as it is: " << found.report() << "  in " << took.count() << " s\n";
  return found.survived();
}

bool read_number(std::string_view text, std::uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string_view> arguments(argv + 1, argv + argc);
  command asked;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--show") {
      asked.show = true;
    } else if (arguments[i] == "--seeds" && i + 1 < arguments.size() &&
               read_number(arguments[i + 1], asked.seeds)) {
      ++i;
    } else {
      std::cerr << "usage: append_log_crash_test [--seeds COUNT] [--show]\n";
      return 2;
    }
  }
  bool as_expected = must_fail("without syncing the directory", {.sync_directory = false}, asked);
  as_expected &= must_fail("without checksums", {.check_sums = false}, asked);
  as_expected &= must_survive(asked);
  return as_expected ? 0 : 1;
}
