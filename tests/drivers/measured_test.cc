#include "weir/measured.hpp"

#include <fcntl.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "drivers/route_counters.hpp"
#include "drivers/tick_clock.hpp"
#include "support/support.hpp"

namespace weir::testing {
namespace {

using detail::log_histogram;
using detail::tick_gauge;
using detail::tick_source;
using std::chrono::steady_clock;

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(
      std::chrono::nanoseconds(steady_clock::now().time_since_epoch()).count());
}

/// Lets time pass, which is what is measured.
void spend(std::chrono::nanoseconds time) {
  const auto until = steady_clock::now() + time;
  while (steady_clock::now() < until) {
  }
}

// --- histograms ----------------------------------------------------------------------------------

TEST(log_histogram_test, every_bucket_begins_where_the_one_before_it_ends) {
  EXPECT_EQ(log_histogram::least_of(0), 0);
  for (std::size_t i = 1; i < log_histogram::buckets; ++i) {
    const auto least = static_cast<std::uint64_t>(log_histogram::least_of(i));
    EXPECT_EQ(log_histogram::bucket_of(least), i);
    EXPECT_EQ(log_histogram::bucket_of(least - 1), i - 1);
  }
  EXPECT_EQ(log_histogram::bucket_of(UINT64_MAX), log_histogram::buckets - 1);
  EXPECT_EQ(log_histogram::least_of(log_histogram::buckets), std::ldexp(1.0, 64));
}

TEST(log_histogram_test, knows_these_values) {
  const std::map<std::uint64_t, std::size_t> known = {
      {0, 0},   {1, 1},   {7, 7},   {8, 8},   {15, 15}, {16, 16},   {17, 16},   {18, 17},
      {31, 23}, {32, 24}, {35, 24}, {36, 25}, {63, 31}, {1024, 64}, {1151, 64}, {1152, 65}};
  for (const auto& [value, bucket] : known) EXPECT_EQ(log_histogram::bucket_of(value), bucket);
}

/// As a report has it, a tick being a nanosecond.
latency_report report_of(const log_histogram& histogram) {
  latency_report made{.max_ns = histogram.max()};
  for (std::size_t i = 0; i < log_histogram::buckets; ++i) {
    if (histogram.count_of(i) == 0) continue;
    made.count += histogram.count_of(i);
    made.buckets.push_back({static_cast<std::uint64_t>(log_histogram::least_of(i)),
                            static_cast<std::uint64_t>(log_histogram::least_of(i + 1)),
                            histogram.count_of(i)});
  }
  return made;
}

TEST(log_histogram_test, quantiles_are_too_large_by_an_eighth_at_most) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> latencies(10, 2);
  std::vector<std::uint64_t> values;
  log_histogram histogram;
  for (int i = 0; i < 10'007; ++i) {
    values.push_back(static_cast<std::uint64_t>(latencies(random)));
    histogram.record(values.back(), 1);
  }
  std::ranges::sort(values);
  const latency_report report = report_of(histogram);
  EXPECT_EQ(report.count, values.size());
  for (const double fraction : {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
    const double rank = std::ceil(fraction * static_cast<double>(values.size()));
    const std::uint64_t exact = values[static_cast<std::size_t>(rank) - 1];
    EXPECT_GE(report.quantile_ns(fraction), exact);
    EXPECT_LE(static_cast<double>(report.quantile_ns(fraction)),
              static_cast<double>(exact) * 1.125 + 1);
  }
  EXPECT_EQ(report.quantile_ns(1), values.back());
  EXPECT_EQ(report.quantile_ns(2), values.back());
  EXPECT_EQ(report.quantile_ns(-1), report.buckets.front().to_ns);
}

TEST(log_histogram_test, quantiles_of_known_buckets) {
  const latency_report report{
      .count = 1000,
      .max_ns = 77,
      .buckets = {{8, 9, 500}, {16, 18, 400}, {32, 36, 90}, {40, 44, 9}, {72, 80, 1}}};
  EXPECT_EQ(report.quantile_ns(0.5), 9);
  EXPECT_EQ(report.quantile_ns(0.501), 18);
  EXPECT_EQ(report.quantile_ns(0.9), 18);
  EXPECT_EQ(report.quantile_ns(0.99), 36);
  EXPECT_EQ(report.quantile_ns(0.999), 44);
  EXPECT_EQ(report.quantile_ns(1), 77) << "the longest, not the end of its bucket";
  EXPECT_EQ(latency_report{}.quantile_ns(0.5), 0);
}

// --- the clock -----------------------------------------------------------------------------------

TEST(tick_gauge_test, knows_how_long_a_tick_is) {
  for (const tick_source source : {tick_source(), tick_source::choose()}) {
    const tick_gauge gauge(source);
    const std::uint64_t start_ns = now_ns();
    const std::uint64_t start = source.now();
    spend(std::chrono::milliseconds(20));
    const std::uint64_t ticks = source.now() - start;
    const std::uint64_t ns = now_ns() - start_ns;
    const double measured = static_cast<double>(ticks) * gauge.ns_per_tick();
    EXPECT_LE(measured, static_cast<double>(ns) * 1.001);
    EXPECT_GE(measured, 20e6 * 0.999);
    EXPECT_TRUE(source.counts_cycles() || gauge.ns_per_tick() == 1);
  }
}

// --- by hand -------------------------------------------------------------------------------------

/// A driver that finishes what and when the test says.
class hand final : public driver {
 public:
  void submit(operation_queue& staged) noexcept override {
    while (!staged.empty() && taken.size() < room) taken.push_back(&staged.pop_front());
  }
  void reap(operation_queue& completed, deadline) noexcept override {
    completed.append(std::move(finished_));
  }
  void wake() noexcept override {}
  int fd() const noexcept override { return -1; }

  void finish(operation& op, std::int32_t answer) {
    ASSERT_EQ(std::erase(taken, &op), 1);
    op.set_answer(answer);
    finished_.push_back(op);
  }
  void finish_all(std::int32_t answer) {
    while (!taken.empty()) finish(*taken.front(), answer);
  }

  std::vector<operation*> taken;
  std::size_t room = SIZE_MAX;

 private:
  operation_queue finished_;
};

class measured_by_hand : public ::testing::Test {
 protected:
  void open(unsigned queue_depth) {
    auto inner = std::make_unique<hand>();
    inner_ = inner.get();
    driver_ = make_measured(std::move(inner), counts_, "by hand", queue_depth);
  }

  recorded& stage(const request& what) {
    recorded& op = add(operations_, what);
    staged_.push_back(op);
    return op;
  }
  void stage(const request& what, int count) {
    for (int i = 0; i < count; ++i) stage(what);
  }
  void submit() { driver_->submit(staged_); }

  std::size_t reap() {
    operation_queue completed;
    driver_->reap(completed, deadline::now());
    return completed.size();
  }

  route_report route() const { return counts_->report().routes.at(0); }
  operation_report of(opcode op) const {
    const route_report now = route();
    const auto found = std::ranges::find(now.operations, op, &operation_report::op);
    return found != now.operations.end() ? *found : operation_report{.op = op};
  }

  const std::shared_ptr<measurements> counts_ = std::make_shared<measurements>();
  hand* inner_ = nullptr;
  std::unique_ptr<driver> driver_;
  operation_queue staged_;
  batch operations_;
};

TEST_F(measured_by_hand, begins_with_nothing) {
  EXPECT_TRUE(counts_->report().routes.empty());
  open(4);
  EXPECT_EQ(route().name, "by hand");
  EXPECT_EQ(route().in_flight, 0);
  EXPECT_EQ(route().most_in_flight, 0);
  EXPECT_TRUE(route().operations.empty());
}

TEST_F(measured_by_hand, counts_answers_errors_cancellations_and_bytes) {
  open(64);
  const std::map<opcode, std::vector<std::int32_t>> answers = {
      {opcode::read, {100, 200, 0, -EIO, -ECANCELED, -EIO}},
      {opcode::write, {1'000'000, 2'000'000'000, 2'000'000'000, 2'000'000'000}},
      {opcode::readv, {5}},
      {opcode::writev, {7}},
      {opcode::openat, {12, 13, -ENOENT}},
      {opcode::nop, {0, 0, 0, 0, 0}},
      {opcode::fsync, {-EIO}},
      {opcode::cancel, {0, -EALREADY, -ENOENT}}};
  // All of an opcode together, then all mixed; handed over at once, then one by one.
  for (int round = 0; round < 2; ++round) {
    std::vector<std::pair<operation*, std::int32_t>> order;
    for (const auto& [op, all] : answers) {
      for (const std::int32_t answer : all) {
        order.emplace_back(&stage({.op = op}), answer);
        if (round == 1) submit();
      }
    }
    submit();
    std::mt19937 random(7);
    if (round == 1) std::ranges::shuffle(order, random);
    for (const auto& [op, answer] : order) inner_->finish(*op, answer);
    EXPECT_EQ(reap(), order.size());
  }
  for (const auto& [op, all] : answers) {
    const operation_report counted = of(op);
    const bool transfers =
        op == opcode::read || op == opcode::write || op == opcode::readv || op == opcode::writev;
    std::uint64_t bytes = 0;
    for (const std::int32_t answer : all) {
      bytes += transfers && answer > 0 ? static_cast<std::uint64_t>(answer) : 0;
    }
    const auto cancelled = static_cast<std::uint64_t>(std::ranges::count(all, -ECANCELED));
    const auto negative = static_cast<std::uint64_t>(
        std::ranges::count_if(all, [](std::int32_t answer) { return answer < 0; }));
    EXPECT_EQ(counted.completed, 2 * all.size());
    EXPECT_EQ(counted.latency.count, 2 * all.size());
    EXPECT_EQ(counted.cancelled, 2 * cancelled);
    EXPECT_EQ(counted.failed, 2 * (negative - cancelled));
    EXPECT_EQ(counted.bytes, 2 * bytes);
  }
  EXPECT_EQ(route().operations.size(), answers.size());
}

TEST_F(measured_by_hand, shows_what_is_in_flight_and_the_most_there_was) {
  open(16);
  const auto expect = [&](std::uint64_t now, std::uint64_t most) {
    EXPECT_EQ(route().in_flight, now);
    EXPECT_EQ(route().most_in_flight, most);
  };
  stage({}, 3);
  expect(0, 0);
  submit();
  expect(3, 3);
  stage({}, 5);
  submit();
  expect(8, 8);
  inner_->finish(*operations_[6], 0);
  inner_->finish(*operations_[0], 0);
  expect(8, 8);
  EXPECT_EQ(reap(), 2);
  expect(6, 8);
  inner_->finish_all(0);
  EXPECT_EQ(reap(), 6);
  expect(0, 8);
}

TEST_F(measured_by_hand, counts_only_what_was_taken_and_leaves_the_rest_in_order) {
  open(16);
  inner_->room = 4;
  stage({}, 50);
  std::vector<operation*> order;
  std::size_t given = 0;
  while (given < 50) {
    submit();
    EXPECT_EQ(route().in_flight, inner_->taken.size());
    // All but one, so that there is always a first one in flight.
    while (inner_->taken.size() > 1 || (staged_.empty() && !inner_->taken.empty())) {
      order.push_back(inner_->taken.front());
      inner_->finish(*inner_->taken.front(), 0);
    }
    given += reap();
    EXPECT_EQ(staged_.size() + inner_->taken.size() + given, 50);
  }
  EXPECT_EQ(route().most_in_flight, 4);
  EXPECT_EQ(of(opcode::nop).latency.count, 50);
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(order[i], operations_[i].get());
}

/// When something happened, as far as one can tell from outside.
struct instant {
  std::uint64_t before, after;
};

// First ones, noted ones, in one reap and in several: each has its own time.
TEST_F(measured_by_hand, latency_is_from_submit_to_reap) {
  constexpr std::array ops = {opcode::read,   opcode::write, opcode::fsync, opcode::statx,
                              opcode::openat, opcode::close, opcode::nop};
  open(16);
  std::map<opcode, instant> submitted;
  std::map<opcode, instant> reaped;
  for (const opcode op : ops) {
    stage({.op = op});
    const std::uint64_t before = now_ns();
    submit();
    submitted[op] = {before, now_ns()};
    spend(std::chrono::milliseconds(2));
  }
  for (const auto& together : std::vector<std::vector<std::size_t>>{{3, 1}, {0, 6}, {5, 2, 4}}) {
    for (const std::size_t i : together) inner_->finish(*operations_[i], 0);
    const std::uint64_t before = now_ns();
    EXPECT_EQ(reap(), together.size());
    for (const std::size_t i : together) reaped[ops[i]] = {before, now_ns()};
    spend(std::chrono::milliseconds(2));
  }
  for (const opcode op : ops) {
    const latency_report latency = of(op).latency;
    ASSERT_EQ(latency.buckets.size(), 1);
    const auto least = static_cast<double>(reaped[op].before - submitted[op].after);
    const auto most = static_cast<double>(reaped[op].after - submitted[op].before);
    EXPECT_GE(static_cast<double>(latency.max_ns), least * 0.999);
    EXPECT_LE(static_cast<double>(latency.max_ns), most * 1.001);
    EXPECT_LE(latency.buckets[0].from_ns, latency.max_ns);
    EXPECT_GE(latency.buckets[0].to_ns, latency.max_ns);
  }
}

TEST_F(measured_by_hand, what_was_left_staged_counts_from_when_it_was_taken) {
  open(16);
  inner_->room = 1;
  stage({.op = opcode::read});
  stage({.op = opcode::write});
  submit();
  spend(std::chrono::milliseconds(5));
  const std::uint64_t before = now_ns();
  submit();
  inner_->room = 2;
  submit();
  inner_->finish_all(1);
  EXPECT_EQ(reap(), 2);
  EXPECT_LE(of(opcode::write).latency.max_ns, (now_ns() - before) * 1001 / 1000);
  EXPECT_GE(of(opcode::read).latency.max_ns, 4'995'000);
}

TEST_F(measured_by_hand, with_more_in_flight_than_expected_counts_all_and_times_the_rest_again) {
  open(1);
  stage({}, 3);
  submit();
  stage({}, 7);
  submit();
  EXPECT_EQ(route().in_flight, 10);
  for (const std::size_t i : {8u, 0u, 3u}) inner_->finish(*operations_[i], 0);
  EXPECT_EQ(reap(), 3);
  inner_->finish_all(0);
  EXPECT_EQ(reap(), 7);
  EXPECT_EQ(of(opcode::nop).completed, 10);
  EXPECT_EQ(of(opcode::nop).latency.count, 2) << "two were noted";
  EXPECT_EQ(route().in_flight, 0);
  EXPECT_EQ(route().most_in_flight, 10);
  stage({}, 5);
  submit();
  inner_->finish_all(0);
  EXPECT_EQ(reap(), 5);
  EXPECT_EQ(of(opcode::nop).completed, 15);
  EXPECT_EQ(of(opcode::nop).latency.count, 7);
}

TEST_F(measured_by_hand, appends_to_what_is_completed_already) {
  open(4);
  recorded before{request{}};
  operation_queue completed;
  completed.push_back(before);
  stage({}, 2);
  submit();
  inner_->finish_all(0);
  driver_->reap(completed, deadline::now());
  EXPECT_EQ(completed.size(), 3);
  EXPECT_EQ(&completed.front(), &before);
  EXPECT_EQ(of(opcode::nop).completed, 2);
}

// --- rows ----------------------------------------------------------------------------------------

/// Counts `count` no-ops.
void pass(driver& through, int count) {
  batch all;
  operation_queue staged;
  operation_queue completed;
  for (int i = 0; i < count; ++i) staged.push_back(add(all, {}));
  through.submit(staged);
  through.reap(completed, deadline::now());
  EXPECT_EQ(completed.size(), count);
}

TEST(measurements_test, drivers_that_live_together_have_a_row_each_and_successors_go_on) {
  const auto counts = std::make_shared<measurements>();
  const auto open = [&](std::string_view name) {
    return make_measured(open_driver_named("sync"), counts, name);
  };
  const auto completed = [&] {
    std::vector<std::pair<std::string, std::uint64_t>> rows;
    for (const route_report& each : counts->report().routes) {
      rows.emplace_back(each.name, each.operations.empty() ? 0 : each.operations[0].completed);
    }
    return rows;
  };
  using rows = decltype(completed());
  auto first = open("a");
  auto second = open("a");
  auto other = open("b");
  pass(*first, 1);
  pass(*second, 2);
  pass(*other, 4);
  EXPECT_EQ(completed(), (rows{{"a", 1}, {"a", 2}, {"b", 4}}));
  second.reset();
  EXPECT_EQ(completed(), (rows{{"a", 1}, {"a", 2}, {"b", 4}})) << "counts outlive their driver";
  second = open("a");
  pass(*second, 10);
  pass(*open("c"), 20);
  EXPECT_EQ(completed(), (rows{{"a", 1}, {"a", 12}, {"b", 4}, {"c", 20}}));
}

TEST(measurements_test, a_driver_that_ends_leaves_nothing_in_flight) {
  const auto counts = std::make_shared<measurements>();
  auto driver = make_measured(std::make_unique<hand>(), counts);
  recorded lost{request{}};
  operation_queue staged;
  staged.push_back(lost);
  driver->submit(staged);
  EXPECT_EQ(counts->report().routes[0].in_flight, 1);
  driver.reset();
  EXPECT_EQ(counts->report().routes[0].in_flight, 0);
}

TEST(measurements_test, live_as_long_as_a_driver_that_counts_into_them) {
  auto driver = make_measured(open_driver_named("sync"), std::make_shared<measurements>());
  pass(*driver, 3);
}

TEST(measurements_test, need_a_driver_and_a_place) {
  EXPECT_TRUE(
      aborted_saying(run_in_child([] { make_measured(nullptr, std::make_shared<measurements>()); }),
                     "make_measured was given no driver"));
  EXPECT_TRUE(
      aborted_saying(run_in_child([] { make_measured(open_driver_named("sync"), nullptr); }),
                     "make_measured was given no driver, or nothing to count into"));
}

// --- renderings ----------------------------------------------------------------------------------

measurement_report example() {
  return {
      .routes = {
          {.name = "uring",
           .in_flight = 3,
           .most_in_flight = 64,
           .operations = {{.op = opcode::read,
                           .completed = 1000,
                           .failed = 2,
                           .cancelled = 1,
                           .bytes = 4'096'000,
                           .latency = {.count = 1000,
                                       .max_ns = 1'234'567,
                                       .buckets = {{8192, 9216, 990}, {1'048'576, 1'310'720, 10}}}},
                          {.op = opcode::fallocate, .completed = 5, .bytes = 0}}},
          {.name = "a \"name\"\\ with\n\x01 oddities: \u00e4"}}};
}

TEST(measurement_report_test, is_a_table_for_people) {
  EXPECT_EQ(measurement_report{}.text(), "");
  EXPECT_EQ(
      example().text(),
      "uring: 3 in flight, 64 at most\n"
      "  operation          completed   failed cancelled      bytes       p50       p90       p99"
      "     p99.9       max\n"
      "  read                    1000        2         1    3.9 MiB    9.2 us    9.2 us    9.2 us"
      "    1.2 ms    1.2 ms\n"
      "  fallocate                  5        0         0        0 B      0 ns      0 ns      0 ns"
      "      0 ns      0 ns\n"
      "a \"name\"\\ with\n\x01 oddities: \u00e4: 0 in flight, 0 at most\n");
}

TEST(measurement_report_test, is_valid_json_that_says_all) {
  EXPECT_EQ(nlohmann::json::parse(measurement_report{}.json()),
            (nlohmann::json{{"routes", nlohmann::json::array()}}));
  const measurement_report report = example();
  const auto parsed = nlohmann::json::parse(report.json());
  ASSERT_EQ(parsed.size(), 1);
  ASSERT_EQ(parsed["routes"].size(), 2);
  EXPECT_EQ(parsed["routes"][1]["name"], report.routes[1].name);
  EXPECT_EQ(parsed["routes"][1]["operations"], nlohmann::json::array());
  const nlohmann::json expected = {
      {"name", "uring"},
      {"in_flight", 3},
      {"most_in_flight", 64},
      {"operations",
       {{{"operation", "read"},
         {"completed", 1000},
         {"failed", 2},
         {"cancelled", 1},
         {"bytes", 4'096'000},
         {"latency_ns",
          {{"count", 1000},
           {"p50", 9216},
           {"p90", 9216},
           {"p99", 9216},
           {"p99.9", 1'234'567},
           {"max", 1'234'567},
           {"buckets", {{8192, 9216, 990}, {1'048'576, 1'310'720, 10}}}}}},
        {{"operation", "fallocate"},
         {"completed", 5},
         {"failed", 0},
         {"cancelled", 0},
         {"bytes", 0},
         {"latency_ns",
          {{"count", 0},
           {"p50", 0},
           {"p90", 0},
           {"p99", 0},
           {"p99.9", 0},
           {"max", 0},
           {"buckets", nlohmann::json::array()}}}}}}};
  EXPECT_EQ(parsed["routes"][0], expected);
}

TEST(measurement_report_test, every_opcode_has_a_name_of_its_own) {
  std::set<std::string> names;
  for (unsigned i = 0; i < opcode_count; ++i) {
    const measurement_report report{
        .routes = {{.operations = {{.op = static_cast<opcode>(i), .completed = 1}}}}};
    const auto parsed = nlohmann::json::parse(report.json());
    names.insert(parsed["routes"][0]["operations"][0]["operation"].get<std::string>());
  }
  EXPECT_EQ(names.size(), opcode_count);
  EXPECT_FALSE(names.contains(""));
}

// --- on every driver -----------------------------------------------------------------------------

class measured_over : public driver_test {
 protected:
  io_context& context(unsigned queue_depth) {
    return *(context_ = std::make_unique<io_context>(
                 make_measured(open_driver_named(GetParam(), {.queue_depth = queue_depth}), counts_,
                               GetParam(), queue_depth)));
  }
  route_report route() const { return counts_->report().routes.at(0); }

  temp_directory directory_;
  const std::shared_ptr<measurements> counts_ = std::make_shared<measurements>();
  std::unique_ptr<io_context> context_;
};

INSTANTIATE_TEST_SUITE_P(drivers, measured_over, ::testing::ValuesIn(driver_names), name_of_driver);

/// What the operations themselves say.
struct tally {
  std::uint64_t completed = 0, failed = 0, cancelled = 0, bytes = 0;
  friend bool operator==(const tally&, const tally&) = default;
};

TEST_P(measured_over, counts_are_exact) {
  constexpr std::size_t size = 100'000;
  constexpr unsigned depth = 16;
  const descriptor file = make_patterned_file(directory_ / "file", size);
  std::vector<std::byte> memory(size);
  std::mt19937 random(3);
  batch all;
  recorded* last = &add(all, {});
  for (int i = 0; i < 6'000; ++i) {
    const std::size_t length = 1 + random() % 50;
    const auto part = std::span(memory).subspan(random() % (size - length), length);
    const int fd = random() % 10 == 0 ? -1 : file.get();
    switch (random() % 5) {
      case 0:
        last = &add(all, {});
        break;
      case 1:
        add(all, {.op = opcode::fdatasync, .fd = -1});
        break;
      case 2:
        add(all, cancel_request(*last));
        break;
      default:
        last = &add(all, read_request(fd, part, random() % size));
    }
  }
  io_context& on = context(depth);
  for (const auto& each : all) {
    on.start(*each);
    if (random() % 20 == 0) on.dispatch(false);
  }
  on.run();
  // What the context settled itself never reached the driver: it answers cancels whose target has
  // not been handed over, or is done. So only the others are compared.
  std::map<opcode, tally> expected;
  for (const auto& each : all) {
    tally& to = expected[each->args.op];
    const std::int32_t answer = each->answer();
    if (answer == -ECANCELED) continue;
    ++to.completed;
    if (answer < 0) ++to.failed;
    if (each->args.op == opcode::read && answer > 0) to.bytes += static_cast<std::uint64_t>(answer);
  }
  const route_report counted = route();
  EXPECT_EQ(counted.in_flight, 0);
  EXPECT_GT(counted.most_in_flight, 0);
  for (const operation_report& each : counted.operations) {
    EXPECT_EQ(each.latency.count, each.completed);
    EXPECT_GT(each.latency.max_ns, 0);
    if (each.op == opcode::cancel) continue;
    EXPECT_EQ((tally{each.completed - each.cancelled, each.failed, 0, each.bytes}),
              expected[each.op])
        << static_cast<int>(each.op);
  }
}

TEST_P(measured_over, shows_a_blocked_operation_in_flight) {
  if (GetParam() == "sync") GTEST_SKIP() << "sync carries out in submit: it would block for ever";
  const pipe_ends pipe = make_pipe();
  std::byte byte{};
  recorded blocked(read_request(pipe.read.get(), {&byte, 1}));
  io_context& on = context(4);
  on.start(blocked);
  on.flush();
  EXPECT_EQ(route().in_flight, 1);
  recorded quick{request{}};
  on.start(quick);
  drive_until(on, [&] { return quick.completions == 1; });
  EXPECT_EQ(route().in_flight, 1);
  EXPECT_EQ(route().most_in_flight, 2);
  const std::uint64_t before = now_ns();
  spend(std::chrono::milliseconds(5));
  pipe.feed(1);
  on.run();
  const route_report now = route();
  EXPECT_EQ(now.in_flight, 0);
  ASSERT_EQ(now.operations.size(), 2);
  EXPECT_EQ(now.operations[1].op, opcode::read);
  EXPECT_EQ(now.operations[1].bytes, 1);
  EXPECT_GE(now.operations[1].latency.max_ns, 4'995'000);
  EXPECT_LE(now.operations[0].latency.max_ns, (now_ns() - before) * 1000);
}

TEST_P(measured_over, what_is_read_at_once_has_a_row_of_its_own) {
  const descriptor written = make_patterned_file(directory_ / "file", 10'000);
  io_context& on = context(16);
  file f(on, ::dup(written.get()));
  std::array<std::byte, 4096> memory{};
  const auto read_all = [&]() -> task<> {
    for (const std::uint64_t offset : {0U, 4096U, 8192U, 12288U}) {
      EXPECT_TRUE((co_await f.read_at(memory, offset)).has_value());
    }
    EXPECT_TRUE((co_await f.close()).has_value());
  };
  on.run(read_all());
  std::map<std::string, std::uint64_t> bytes;
  std::map<std::string, std::uint64_t> reads;
  for (const route_report& each : counts_->report().routes) {
    for (const operation_report& operation : each.operations) {
      if (operation.op != opcode::read) continue;
      bytes[each.name] += operation.bytes;
      reads[each.name] += operation.latency.count;
    }
  }
  const std::string name(GetParam());
  EXPECT_EQ(bytes[name] + bytes[name + " at once"], 10'000);
  EXPECT_EQ(reads[name] + reads[name + " at once"], 4);
  if (is_resident(written, 10'000)) {
    EXPECT_EQ(reads[name + " at once"], 4);
  }
}

TEST_P(measured_over, may_be_read_by_another_thread_at_any_time) {
  constexpr int rounds = 300;
  constexpr int at_once = 20;
  io_context& on = context(8);
  std::atomic<bool> done = false;
  std::atomic<int> reports = 0;
  std::thread reader([&] {
    std::uint64_t last = 0;
    while (!done) {
      const measurement_report report = counts_->report();
      const route_report& row = report.routes.at(0);
      const std::uint64_t now = row.operations.empty() ? 0 : row.operations[0].completed;
      EXPECT_GE(now, last);
      EXPECT_LE(row.in_flight, 8);
      EXPECT_TRUE(nlohmann::json::accept(report.json()));
      last = now;
      reports.fetch_add(1);
      reports.notify_one();
    }
  });
  reports.wait(0);
  batch all;
  for (int i = 0; i < at_once; ++i) add(all, {});
  for (int i = 0; i < rounds; ++i) {
    start_all(on, all);
    on.run();
  }
  done = true;
  reader.join();
  EXPECT_EQ(route().operations.at(0).completed, rounds * at_once);
}

}  // namespace
}  // namespace weir::testing
