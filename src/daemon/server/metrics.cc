// What the daemon has counted, as text.

#include <poll.h>

#include <cinttypes>
#include <cstdio>
#include <span>
#include <string_view>
#include <utility>

#include "daemon/server/carrying_out.hpp"
#include "daemon/server/client.hpp"
#include "daemon/server/counters.hpp"
#include "daemon/server/server_state.hpp"
#include "daemon/server/transfer.hpp"

namespace weir::detail::daemon {
namespace {

// In the order of their numbers, from message::read on.
constexpr std::array<std::string_view, 9> names = {
    "read", "send", "open", "send_open", "read_memory", "receive", "write_memory", "stat", "sync"};

bool is_counted(std::string_view name) { return name != "send_open"; }

class page {
 public:
  void describe(std::string_view name, std::string_view type, std::string_view help) {
    text_.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ");
    text_.append(name).append(" ").append(type).append("\n");
  }
  void sample(std::string_view name, std::string_view labels, std::uint64_t value) {
    text_.append(name);
    if (!labels.empty()) text_.append("{").append(labels).append("}");
    text_.append(" ").append(std::to_string(value)).append("\n");
  }
  void sample_seconds(std::string_view name, std::string_view labels, std::uint64_t ns) {
    text_.append(name).append("{").append(labels).append("} ").append(seconds(ns)).append("\n");
  }
  void single(std::string_view name, std::string_view type, std::string_view help,
              std::uint64_t value) {
    describe(name, type, help);
    sample(name, "", value);
  }
  static std::string seconds(std::uint64_t ns) {
    std::array<char, 32> digits{};
    std::snprintf(digits.data(), digits.size(), "%" PRIu64 ".%09" PRIu64, ns / 1'000'000'000,
                  ns % 1'000'000'000);
    return digits.data();
  }
  std::string text() && { return std::move(text_); }

 private:
  std::string text_;
};

std::string label(std::string_view name, std::string_view value) {
  return std::string(name).append("=\"").append(value).append("\"");
}

template <class Each>
void for_each_request(const server_counts& counted, Each each) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (is_counted(names[i])) each(label("request", names[i]), counted.requests[i]);
  }
}

void add_outcomes(page& out, const server_counts& counted) {
  out.describe("weir_requests_total", "counter", "Requests that have ended, by outcome.");
  for_each_request(counted, [&](const std::string& request, const request_counts& of) {
    out.sample("weir_requests_total", request + ",outcome=\"completed\"", of.completed);
    out.sample("weir_requests_total", request + ",outcome=\"failed\"", of.failed);
    out.sample("weir_requests_total", request + ",outcome=\"cancelled\"", of.cancelled);
  });
  out.describe("weir_bytes_total", "counter", "Bytes moved.");
  for_each_request(counted, [&](const std::string& request, const request_counts& of) {
    out.sample("weir_bytes_total", request, of.bytes);
  });
}

// Prometheus adds up: each bucket counts all that are below it, too.
void add_latency(page& out, const std::string& request, const latency_counts& latency) {
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < latency_counts::bucket_count; ++i) {
    below += latency.bucket(i);
    if (latency.bucket(i) == 0) continue;
    const std::string bound = page::seconds(std::uint64_t{1} << i);
    out.sample("weir_request_seconds_bucket", request + "," + label("le", bound), below);
  }
  out.sample("weir_request_seconds_bucket", request + ",le=\"+Inf\"", below);
  out.sample_seconds("weir_request_seconds_sum", request, latency.sum_ns());
  out.sample("weir_request_seconds_count", request, below);
}

void add_latencies(page& out, const server_counts& counted) {
  out.describe("weir_request_seconds", "histogram", "From a request to its end.");
  for_each_request(counted, [&](const std::string& request, const request_counts& of) {
    add_latency(out, request, of.latency);
  });
}

std::string labels_of(const client& one) {
  return label("connection", std::to_string(one.number())) + "," +
         label("pid", std::to_string(one.who().process)) + "," +
         label("uid", std::to_string(one.who().user));
}

void add_clients(page& out, const server_state& server) {
  out.describe("weir_client_transfers", "gauge", "Transfers that a client has under way.");
  for (const client* each : server.clients) {
    out.sample("weir_client_transfers", labels_of(*each), each->transfers());
  }
  out.describe("weir_client_requests_total", "counter", "Requests of a client that have ended.");
  for (const client* each : server.clients) {
    out.sample("weir_client_requests_total", labels_of(*each), each->ended());
  }
  out.describe("weir_client_bytes_total", "counter", "Bytes moved for a client.");
  for (const client* each : server.clients) {
    out.sample("weir_client_bytes_total", labels_of(*each), each->bytes_moved());
  }
}

void add_totals(page& out, const server_state& server) {
  const server_counts& counted = server.counts;
  out.single("weir_transfers", "gauge", "Transfers under way.", server.transfers);
  out.single("weir_transfers_max", "gauge", "The most at a time.", server.options.max_transfers);
  out.single("weir_clients", "gauge", "Connections.", server.clients.size());
  out.single("weir_clients_accepted_total", "counter", "Connections that were accepted.",
             counted.accepted_clients);
  out.single("weir_clients_rejected_total", "counter", "Connections that were turned away.",
             counted.rejected_clients);
  out.single("weir_requests_malformed_total", "counter", "Messages that are no request.",
             counted.malformed);
  out.single("weir_requests_refused_total", "counter",
             "Requests refused for want of room or of permission.", counted.refused);
}

}  // namespace

std::string metrics_text(const server_state& server) {
  page out;
  add_totals(out, server);
  add_outcomes(out, server.counts);
  add_latencies(out, server.counts);
  add_clients(out, server);
  return std::move(out).text();
}

// No answers here: text, then the end.
detached carry_out_metrics(client& owner, frame_header asked, std::uint64_t id, endpoint channel) {
  transfer self(owner, asked, id, std::move(channel));
  const std::string text = metrics_text(owner.server());
  auto rest = std::as_bytes(std::span(text));
  while (!rest.empty()) {
    const step_outcome step = owner.server().mover.send(rest, self.channel());
    if (step.error != 0) co_return;
    rest = rest.subspan(step.bytes);
    if (step.next != step_outcome::wants::receiver) continue;
    if (co_await self.ready(self.channel().fd(), POLLOUT) != 0) co_return;
  }
}

}  // namespace weir::detail::daemon
