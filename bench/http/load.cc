// An open-loop client: asks for files by a schedule, whether or not the answers to earlier requests
// have come, so that no stall of the server's hides in requests that were never sent.
//
//     http_load PORT RATE SECONDS HITS COLD
//
// RATE requests a second, nine for /hot/N (N < HITS), then one for /cold/N (each N once, COLD in
// all). Hits and cold requests have connections of their own. Says how long the hits took, each
// from the moment at which it was due, in microseconds, as JSON.

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "support/percentiles.hpp"

namespace {

using bench_clock = std::chrono::steady_clock;

constexpr std::size_t connections_of_each_kind = 32;
constexpr unsigned one_cold_of = 10;

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

struct ask {
  std::string target;
  bench_clock::time_point due;
};

/// A connection on which at most one request is on its way.
class client {
 public:
  explicit client(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {}};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("connect");
    if (::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail("TCP_NODELAY");
  }
  client(const client&) = delete;
  client& operator=(const client&) = delete;
  ~client() { ::close(fd_); }

  int fd() const noexcept { return fd_; }
  bool busy() const noexcept { return busy_; }
  bench_clock::time_point due() const noexcept { return due_; }

  void send(const ask& what) {
    const std::string head = "GET " + what.target + " HTTP/1.1\r\nHost: bench\r\n\r\n";
    if (::send(fd_, head.data(), head.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(head.size())) {
      fail("send");
    }
    due_ = what.due;
    busy_ = true;
    head_.clear();
    left_ = 0;
  }

  /// What has come is taken; true when the response is there to its end.
  bool receive() {
    static std::array<char, 1 << 18> memory;
    const ssize_t count = ::recv(fd_, memory.data(), memory.size(), MSG_DONTWAIT);
    if (count <= 0) fail("recv");
    std::string_view data(memory.data(), static_cast<std::size_t>(count));
    if (left_ == 0 && !take_head(data)) return false;
    left_ -= std::min(left_, data.size());
    busy_ = left_ != 0;
    return !busy_;
  }

 private:
  // False while the head goes on.
  bool take_head(std::string_view& data) {
    const std::size_t before = head_.size();
    head_ += data;
    const auto end = head_.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    constexpr std::string_view field = "Content-Length: ";
    const auto length = head_.find(field);
    if (!head_.starts_with("HTTP/1.1 200") || length > end) {
      std::fprintf(stderr, "unexpected: %s\n", head_.substr(0, end).c_str());
      std::exit(1);
    }
    left_ = std::strtoul(&head_[length + field.size()], nullptr, 10);
    data.remove_prefix(end + 4 - before);
    return true;
  }

  int fd_;
  bool busy_ = false;
  bench_clock::time_point due_;
  std::string head_;
  std::size_t left_ = 0;
};

/// Connections for one kind of request; those that are due and find none free wait, and the wait
/// counts.
class lane {
 public:
  explicit lane(std::uint16_t port) {
    for (std::size_t i = 0; i < connections_of_each_kind; ++i) clients_.emplace_back(port);
  }

  void add(ask what) { waiting_.push_back(std::move(what)); }
  void send_waiting() {
    for (client& each : clients_) {
      if (waiting_.empty()) return;
      if (each.busy()) continue;
      each.send(waiting_.front());
      waiting_.pop_front();
    }
  }
  void list(std::vector<pollfd>& into) const {
    for (const client& each : clients_) into.push_back({each.fd(), POLLIN, 0});
  }
  void receive(const pollfd* polled) {
    for (client& each : clients_) {
      if ((polled++->revents & (POLLIN | POLLHUP | POLLERR)) == 0 || !each.receive()) continue;
      const std::chrono::duration<double, std::micro> took = bench_clock::now() - each.due();
      took_us.push_back(took.count());
    }
  }
  bool done() const noexcept {
    return waiting_.empty() && std::ranges::none_of(clients_, &client::busy);
  }

  std::vector<double> took_us;

 private:
  std::deque<client> clients_;
  std::deque<ask> waiting_;
};

struct schedule {
  double rate;
  double seconds;
  unsigned hits;
  unsigned cold;
};

class load {
 public:
  load(std::uint16_t port, const schedule& plan) : plan_(plan), hits_(port), cold_(port) {
    hits_.list(polled_);
    cold_.list(polled_);
  }

  void run() {
    const auto count = static_cast<unsigned>(plan_.rate * plan_.seconds);
    const auto begun = bench_clock::now();
    for (unsigned next = 0; next < count || !hits_.done() || !cold_.done();) {
      const auto due = begun + std::chrono::duration_cast<bench_clock::duration>(
                                   std::chrono::duration<double>(next / plan_.rate));
      if (next < count && bench_clock::now() >= due) {
        plan_one(next++, due);
        continue;
      }
      hits_.send_waiting();
      cold_.send_waiting();
      wait(next < count ? due : bench_clock::now() + std::chrono::milliseconds(10));
    }
  }

  void report() {
    std::ranges::sort(hits_.took_us);
    const auto hit = [this](double percent) {
      return weir::bench::percentile_of(hits_.took_us, percent);
    };
    std::printf(
        "{\"hits\": %zu, \"cold\": %zu, \"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, "
        "\"max\": %.1f}\n",
        hits_.took_us.size(), cold_.took_us.size(), hit(50), hit(99), hit(99.9), hit(100));
  }

 private:
  void plan_one(unsigned number, bench_clock::time_point due) {
    const unsigned cold = number / one_cold_of;
    if (number % one_cold_of == one_cold_of - 1 && cold < plan_.cold) {
      cold_.add({"/cold/" + std::to_string(cold), due});
    } else {
      hits_.add({"/hot/" + std::to_string(number % plan_.hits), due});
    }
  }

  // The last tenth of a millisecond is waited for without sleep, which would come too late.
  void wait(bench_clock::time_point until) {
    const auto left = until - bench_clock::now() - std::chrono::microseconds(100);
    const auto ns = std::max(left, bench_clock::duration::zero()).count();
    const timespec time{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
    if (::ppoll(polled_.data(), polled_.size(), &time, nullptr) <= 0) return;
    hits_.receive(polled_.data());
    cold_.receive(polled_.data() + connections_of_each_kind);
  }

  schedule plan_;
  lane hits_;
  lane cold_;
  std::vector<pollfd> polled_;
};

}  // namespace

int main(int count, char** arguments) {
  if (count != 6) {
    std::fprintf(stderr, "usage: http_load PORT RATE SECONDS HITS COLD\n");
    return 2;
  }
  load asked(static_cast<std::uint16_t>(std::atoi(arguments[1])),
             {.rate = std::atof(arguments[2]),
              .seconds = std::atof(arguments[3]),
              .hits = static_cast<unsigned>(std::atoi(arguments[4])),
              .cold = static_cast<unsigned>(std::atoi(arguments[5]))});
  asked.run();
  asked.report();
  return 0;
}
