#include "support/program.hpp"

#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>

#include "support/fail.hpp"
#include "support/machine.hpp"

namespace weir::bench {
namespace {

[[noreturn]] void misused(const std::string& name) {
  std::fprintf(stderr, "usage: bench_%s [--quick] [--json FILE]\n", name.c_str());
  std::exit(2);
}

void show(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);  // a row is shown when it is measured, also through a pipe
}

}  // namespace

program::program(int argc, char** argv, std::string name, std::string asks)
    : load_before_(load_average()) {
  answers_.program = std::move(name);
  answers_.asks = std::move(asks);
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--quick") {
      quick_ = true;
    } else if (option == "--json" && i + 1 < argc) {
      json_path_ = argv[++i];
    } else {
      misused(answers_.program);
    }
  }
  show(report::heading_of(answers_));
}

/// Also warms up. Grows step by step: what is slow must not be asked for a great number at once.
std::uint64_t program::operations_in_slice(const contestant& of) const {
  if (of.measures_itself) return 1;
  constexpr double growth = 8;
  std::uint64_t operations = 32;
  for (;;) {
    // Not by its own clock: work that waits takes little of a processor's time.
    const double began = seconds_now(timed_by::wall);
    of.seconds_for(operations);
    const double seconds = seconds_now(timed_by::wall) - began;
    const double wanted = slice().count() / std::max(seconds, 1e-9);
    if (wanted < growth) {
      return static_cast<std::uint64_t>(
          std::ceil(static_cast<double>(operations) * std::max(wanted, 0.01)));
    }
    operations = static_cast<std::uint64_t>(static_cast<double>(operations) * growth);
  }
}

void program::compare(const conditions& under, const contestant& ours, const contestant& peer) {
  for (const contestant* each : {&ours, &peer}) {
    if (!each->absent.empty()) return remark("Without " + each->name + ": " + each->absent);
  }
  const auto value_by = [&](const contestant& who) {
    std::uint64_t operations = under.operations;
    if (operations == 0) {
      operations = operations_in_slice(who);
    } else {
      who.seconds_for(operations);  // warms up
    }
    return [&under, &who, operations] {
      return under.shown.of(who.seconds_for(operations) / static_cast<double>(operations));
    };
  };
  record(under, ours.name, peer.name, compare_values(value_by(ours), value_by(peer), pairs(under)));
}

void program::record(const conditions& under, std::string ours, std::string peer,
                     const comparison& measured) {
  record({.regime = under.regime,
          .ours = std::move(ours),
          .peer = std::move(peer),
          .unit = under.shown.unit,
          .more_is_better = under.shown.more_is_better,
          .our_median = measured.ours,
          .peer_median = measured.peers,
          .ratio = measured.median,
          .spread = {.least = measured.least, .most = measured.most},
          .pairs = static_cast<unsigned>(pairs(under))});
}

void program::record(report::comparison answer) {
  const auto& so_far = answers_.answers;
  if (so_far.empty() || so_far.back().regime != answer.regime ||
      so_far.back().unit != answer.unit) {
    show(report::heading_of_regime(answer));
  }
  show(report::line_of(answer));
  answers_.answers.push_back(std::move(answer));
}

void program::remark(std::string sentence) {
  if (std::ranges::find(answers_.remarks, sentence) != answers_.remarks.end()) return;
  show(sentence + "\n");
  answers_.remarks.push_back(std::move(sentence));
}

int program::finish() {
  if (quick_) remark("A quick run: it shows that everything works, not how fast.");
  remark("Load average " + report::digits_of(load_before_) + " before, " +
         report::digits_of(load_average()) + " after.");
  if (json_path_.empty()) return 0;
  std::ofstream file(json_path_);
  file << report::json_of({.machine = machine_facts(), .questions = {answers_}});
  file.close();
  if (!file) fail(json_path_, EIO);
  return 0;
}

int run_main(int argc, char** argv, int (*body)(int, char**)) {
  try {
    return body(argc, argv);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "%s: %s\n", argv[0], problem.what());
    return 1;
  }
}

}  // namespace weir::bench
