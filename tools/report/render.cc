// Makes one page of what the benchmark programs wrote, and one JSON file.
//
//     page --html FILE [--json FILE] RESULT…

#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "report/suite.hpp"

namespace {

struct order {
  std::string html;
  std::string json;
  std::vector<std::string> results;
};

/// Without results where it cannot be understood.
order order_from(const std::vector<std::string>& arguments) {
  order wanted;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& each = arguments[i];
    if (each != "--html" && each != "--json") {
      wanted.results.push_back(each);
      continue;
    }
    if (++i == arguments.size()) return {};
    (each == "--html" ? wanted.html : wanted.json) = arguments[i];
  }
  return wanted;
}

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(file), {}};
  if (!file) throw std::runtime_error("cannot read " + path);
  return content;
}

void write(const std::string& path, std::string_view content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  if (!file) throw std::runtime_error("cannot write " + path);
}

/// They ran one after the other on one machine: what the first says of it holds for all.
weir::report::suite joined(const std::vector<std::string>& paths) {
  weir::report::suite all;
  for (const std::string& path : paths) {
    auto one = weir::report::suite_of(content_of(path));
    if (!one) throw std::runtime_error(path + " is no benchmark's result: " + one.error());
    if (all.machine.empty()) all.machine = std::move(one->machine);
    for (auto& each : one->questions) all.questions.push_back(std::move(each));
  }
  return all;
}

int run(const order& wanted) {
  const auto all = joined(wanted.results);
  if (!wanted.html.empty()) write(wanted.html, html_of(page_of(all)));
  if (!wanted.json.empty()) write(wanted.json, json_of(all));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const order wanted = order_from({argv + 1, argv + argc});
    if (!wanted.results.empty()) return run(wanted);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "page: %s\n", problem.what());
    return 1;
  }
  std::fputs("usage: page --html FILE [--json FILE] RESULT...\n", stderr);
  return 2;
}
