// weir top: what it makes of a daemon's counts, and the command beside a daemon.

#include <fcntl.h>
#include <pty.h>
#include <sys/ioctl.h>

#include <chrono>

#include <nlohmann/json.hpp>

#include "daemon_fixture.hpp"
#include "top/samples.hpp"
#include "top/view.hpp"

namespace weir::test {
namespace {

using namespace tools::top;
using std::chrono::seconds;

snapshot taken_at(seconds when, std::string_view text) {
  return {.taken = std::chrono::steady_clock::time_point(when), .samples = parse_samples(text)};
}

TEST(samples, are_read_with_their_labels) {
  const auto samples = parse_samples(
      "# HELP a b\n"
      "weir_transfers 3\n"
      "weir_bytes_total{request=\"read\"} 4096\n"
      "weir_client_transfers{connection=\"2\",pid=\"77\",uid=\"0\"} 1\n"
      "no number\n"
      "open{request=\"x\" 1\n"
      "last 5");
  ASSERT_EQ(samples.size(), 4U);
  EXPECT_EQ(samples[0].name, "weir_transfers");
  EXPECT_EQ(samples[0].value, 3);
  EXPECT_EQ(samples[1].with.at("request"), "read");
  EXPECT_EQ(samples[2].with.at("uid"), "0");
  EXPECT_EQ(samples[2].with.size(), 3U);
  EXPECT_EQ(samples[3].value, 5);
}

constexpr std::string_view earlier =
    "weir_request_seconds_bucket{request=\"read\",le=\"0.001\"} 10\n"
    "weir_request_seconds_bucket{request=\"read\",le=\"+Inf\"} 10\n"
    "weir_requests_total{request=\"read\",outcome=\"completed\"} 10\n"
    "weir_bytes_total{request=\"read\"} 1000\n";
constexpr std::string_view later =
    "weir_transfers 1\nweir_transfers_max 8\nweir_clients 1\n"
    "weir_request_seconds_bucket{request=\"read\",le=\"0.001\"} 20\n"
    "weir_request_seconds_bucket{request=\"read\",le=\"0.002\"} 109\n"
    "weir_request_seconds_bucket{request=\"read\",le=\"0.5\"} 110\n"
    "weir_request_seconds_bucket{request=\"read\",le=\"+Inf\"} 110\n"
    "weir_requests_total{request=\"read\",outcome=\"completed\"} 100\n"
    "weir_requests_total{request=\"read\",outcome=\"failed\"} 10\n"
    "weir_requests_total{request=\"send\",outcome=\"completed\"} 0\n"
    "weir_bytes_total{request=\"read\"} 21480\n"
    "weir_client_transfers{connection=\"1\",pid=\"70\",uid=\"0\"} 0\n"
    "weir_client_bytes_total{connection=\"1\",pid=\"70\",uid=\"0\"} 10\n"
    "weir_client_transfers{connection=\"2\",pid=\"77\",uid=\"0\"} 1\n"
    "weir_client_bytes_total{connection=\"2\",pid=\"77\",uid=\"0\"} 2048\n";

TEST(quantiles, are_of_what_came_between_two_snapshots) {
  const snapshot before = taken_at(seconds(1), earlier);
  const snapshot now = taken_at(seconds(3), later);
  const labels read{{"request", "read"}};
  EXPECT_EQ(quantile(before, now, "weir_request_seconds", read, 0.05), 0.001);
  EXPECT_EQ(quantile(before, now, "weir_request_seconds", read, 0.5), 0.002);
  EXPECT_EQ(quantile(before, now, "weir_request_seconds", read, 1), 0.5);
  EXPECT_EQ(quantile(now, now, "weir_request_seconds", read, 0.5), 0);
  EXPECT_EQ(quantile(before, now, "weir_request_seconds", {{"request", "send"}}, 0.5), 0);
}

TEST(a_view, has_rates_and_the_busiest_client_first) {
  const auto page =
      nlohmann::json::parse(as_json(taken_at(seconds(1), earlier), taken_at(seconds(3), later)));
  EXPECT_EQ(page["seconds"], 2);
  ASSERT_EQ(page["requests"].size(), 1U);  // what there never was is not shown
  const auto& read = page["requests"][0];
  EXPECT_EQ(read["request"], "read");
  EXPECT_EQ(read["per_second"], 50);
  EXPECT_EQ(read["bytes_per_second"], 10240);
  EXPECT_EQ(read["completed"], 100);
  EXPECT_EQ(read["failed"], 10);
  ASSERT_EQ(page["connections"].size(), 2U);
  EXPECT_EQ(page["connections"][0]["pid"], "77");
  EXPECT_EQ(page["connections"][0]["bytes_per_second"], 1024);
}

// Found by fuzz/metrics.cc.
TEST(view, is_json_whatever_a_daemon_says) {
  const snapshot now =
      taken_at(seconds(1), "weir_client_transfers{connection=\"\xCC\",pid=\"1\",uid=\"0\"} 1\n");
  const auto page = nlohmann::json::parse(as_json(now, now));
  EXPECT_EQ(page.at("connections").at(0).at("connection"), "\xEF\xBF\xBD");
}

class top_command : public daemon_test {};

TEST_F(top_command, shows_an_interval_in_lines) {
  serve();
  write_file(served("ten"), "0123456789");
  ASSERT_EQ(ask("get", {"ten"}).exit_code, 0);
  const outcome top = ask("top", {"--once", "--interval", "0.05"});
  EXPECT_EQ(top.exit_code, 0) << top.err;
  EXPECT_NE(top.out.find("of 1024 transfers"), std::string::npos) << top.out;
  EXPECT_NE(top.out.find("\nread "), std::string::npos) << top.out;
}

TEST_F(top_command, shows_an_interval_as_json) {
  serve();
  write_file(served("ten"), "0123456789");
  ASSERT_EQ(ask("get", {"ten"}).exit_code, 0);
  const outcome top = ask("top", {"--once", "--json", "--interval", "0.05"});
  ASSERT_EQ(top.exit_code, 0) << top.err;
  const auto page = nlohmann::json::parse(top.out);
  EXPECT_EQ(page["transfers_max"], 1024);
  EXPECT_EQ(page["requests"][0]["request"], "read");
  EXPECT_EQ(page["requests"][0]["completed"], 1);
}

TEST_F(top_command, says_that_there_is_no_daemon) {
  EXPECT_EQ(ask("top", {"--once"}).exit_code, 1);
  EXPECT_EQ(run({"top", "--interval", "0"}).exit_code, 2);
}

// On a terminal of its own, until q is pressed.
TEST_F(top_command, fills_a_terminal_until_it_is_told_to_end) {
  serve();
  winsize size{.ws_row = 24, .ws_col = 100, .ws_xpixel = 0, .ws_ypixel = 0};
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::setenv("TERM", "xterm", 1);
    ::execl(WEIR_COMMAND, "weir", "top", "--socket", socket().c_str(), "--interval", "0.05",
            nullptr);
    ::_exit(127);
  }
  const testing::descriptor ours(terminal);
  std::string shown;
  std::array<char, 4096> piece{};
  while (shown.find("transfers, 1 clients") == std::string::npos &&
         testing::readable(terminal, 30'000)) {
    const ssize_t got = ::read(terminal, piece.data(), piece.size());
    if (got <= 0) break;
    shown.append(piece.data(), static_cast<std::size_t>(got));
  }
  EXPECT_NE(shown.find("transfers, 1 clients"), std::string::npos);
  ASSERT_EQ(::write(terminal, "q", 1), 1);
  while (::read(terminal, piece.data(), piece.size()) > 0) {
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace weir::test
