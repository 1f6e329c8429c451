#include "top/view.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>

#include <nlohmann/json.hpp>

#include "formatted.hpp"

namespace weir::tools::top {
namespace {

constexpr std::array requests{"read",    "send",         "open", "read_memory",
                              "receive", "write_memory", "stat", "sync"};

/// One kind of request.
struct request_row {
  std::string kind;
  double rate = 0;       ///< ended, a second
  double bytes = 0;      ///< moved, a second
  double completed = 0;  ///< these two of all time
  double failed = 0;
  double median = 0;  ///< seconds
  double p99 = 0;
};

struct client_row {
  std::string connection;
  std::string pid;
  std::string uid;
  double transfers = 0;
  double rate = 0;
  double bytes = 0;
};

double seconds_between(const snapshot& before, const snapshot& now) {
  const double seconds = std::chrono::duration<double>(now.taken - before.taken).count();
  return std::max(seconds, 1e-9);
}

double rate_of(const snapshot& before, const snapshot& now, std::string_view name,
               const labels& having) {
  const double more = now.value(name, having) - before.value(name, having);
  return std::max(more, 0.0) / seconds_between(before, now);
}

request_row row_of(const snapshot& before, const snapshot& now, const std::string& kind) {
  constexpr auto ended = "weir_requests_total";
  const labels of{{"request", kind}};
  request_row row{.kind = kind, .bytes = rate_of(before, now, "weir_bytes_total", of)};
  for (const char* outcome : {"completed", "failed", "cancelled"}) {
    const labels with{{"request", kind}, {"outcome", outcome}};
    row.rate += rate_of(before, now, ended, with);
    (std::strcmp(outcome, "completed") == 0 ? row.completed : row.failed) += now.value(ended, with);
  }
  row.median = quantile(before, now, "weir_request_seconds", of, 0.5);
  row.p99 = quantile(before, now, "weir_request_seconds", of, 0.99);
  return row;
}

std::vector<request_row> request_rows(const snapshot& before, const snapshot& now) {
  std::vector<request_row> rows;
  for (const char* kind : requests) {
    request_row row = row_of(before, now, kind);
    if (row.completed + row.failed > 0) rows.push_back(std::move(row));
  }
  return rows;
}

std::string label(const sample& of, const char* name) {
  const auto found = of.with.find(name);
  return found == of.with.end() ? "" : found->second;
}

std::vector<client_row> client_rows(const snapshot& before, const snapshot& now) {
  std::vector<client_row> rows;
  for (const sample& each : now.samples) {
    if (each.name != "weir_client_transfers") continue;
    rows.push_back({.connection = label(each, "connection"),
                    .pid = label(each, "pid"),
                    .uid = label(each, "uid"),
                    .transfers = each.value,
                    .rate = rate_of(before, now, "weir_client_requests_total", each.with),
                    .bytes = rate_of(before, now, "weir_client_bytes_total", each.with)});
  }
  // By the connection, too, so that those who move nothing stay where they are.
  std::ranges::sort(rows, std::greater(), [](const client_row& each) {
    return std::pair<double, const std::string&>(each.bytes, each.connection);
  });
  return rows;
}

std::string rate_text(double bytes) { return human_bytes(bytes) + "/s"; }

std::string time_text(double seconds) {
  if (seconds <= 0) return "-";
  if (seconds < 1e-3) return formatted("%.0f us", seconds * 1e6);
  if (seconds < 1) return formatted("%.1f ms", seconds * 1e3);
  return formatted("%.1f s", seconds);
}

std::string line_of(const request_row& row) {
  return formatted("%-13s %10.1f %14s %10.0f %8.0f %10s %10s", row.kind.c_str(), row.rate,
                   rate_text(row.bytes).c_str(), row.completed, row.failed,
                   time_text(row.median).c_str(), time_text(row.p99).c_str());
}

std::string line_of(const client_row& row) {
  return formatted("%-10s %8s %8s %10.0f %12.1f %14s", row.connection.c_str(), row.pid.c_str(),
                   row.uid.c_str(), row.transfers, row.rate, rate_text(row.bytes).c_str());
}

}  // namespace

std::vector<std::string> shown(const snapshot& before, const snapshot& now) {
  std::vector<std::string> lines;
  lines.push_back(formatted(
      "%.0f of %.0f transfers, %.0f clients; turned away: %.0f clients, %.0f "
      "requests; malformed: %.0f",
      now.value("weir_transfers"), now.value("weir_transfers_max"), now.value("weir_clients"),
      now.value("weir_clients_rejected_total"), now.value("weir_requests_refused_total"),
      now.value("weir_requests_malformed_total")));
  lines.emplace_back();
  lines.push_back(formatted("%-13s %10s %14s %10s %8s %10s %10s", "REQUEST", "per s", "moved",
                            "completed", "failed", "median", "99 %"));
  for (const request_row& row : request_rows(before, now)) lines.push_back(line_of(row));
  lines.emplace_back();
  lines.push_back(formatted("%-10s %8s %8s %10s %12s %14s", "CONNECTION", "process", "user",
                            "transfers", "requests/s", "moved"));
  for (const client_row& row : client_rows(before, now)) lines.push_back(line_of(row));
  return lines;
}

std::string as_json(const snapshot& before, const snapshot& now) {
  nlohmann::ordered_json page;
  page["seconds"] = seconds_between(before, now);
  page["transfers"] = now.value("weir_transfers");
  page["transfers_max"] = now.value("weir_transfers_max");
  page["clients"] = now.value("weir_clients");
  page["requests"] = nlohmann::ordered_json::array();
  for (const request_row& row : request_rows(before, now)) {
    page["requests"].push_back({{"request", row.kind},
                                {"per_second", row.rate},
                                {"bytes_per_second", row.bytes},
                                {"completed", row.completed},
                                {"failed", row.failed},
                                {"median_seconds", row.median},
                                {"p99_seconds", row.p99}});
  }
  page["connections"] = nlohmann::ordered_json::array();
  for (const client_row& row : client_rows(before, now)) {
    page["connections"].push_back({{"connection", row.connection},
                                   {"pid", row.pid},
                                   {"uid", row.uid},
                                   {"transfers", row.transfers},
                                   {"requests_per_second", row.rate},
                                   {"bytes_per_second", row.bytes}});
  }
  // What a daemon says need not be UTF-8; what is not becomes U+FFFD.
  return page.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace weir::tools::top
