// fio measures for a slice's time and says how many operations a second it did: from that, how long
// those asked for would have taken.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "peers/peers.hpp"

namespace weir::bench {
namespace {

std::string output_of(const std::string& command) {
  const auto closed = [](std::FILE* pipe) { ::pclose(pipe); };
  const std::unique_ptr<std::FILE, decltype(closed)> pipe(::popen(command.c_str(), "re"), closed);
  if (!pipe) fail(command);
  std::string output;
  std::array<char, 4096> part{};
  while (const std::size_t length = std::fread(part.data(), 1, part.size(), pipe.get())) {
    output.append(part.data(), length);
  }
  return output;
}

bool installed() { return !output_of("command -v fio").empty(); }

std::string pattern_of(const workload& work) {
  switch (work.kind) {
    case work_kind::read:
      return work.sequential ? "read" : "randread";
    case work_kind::mixed:
      return "randrw";
    case work_kind::write:
    case work_kind::durable:
      break;
  }
  return "randwrite";
}

std::string command_for(std::string_view engine, const workload& work, const std::string& path,
                        std::chrono::duration<double> slice) {
  std::string command = "fio --name=peer --output-format=json --thread --time_based --direct=1";
  command += " --ioengine=" + std::string(engine) + " --filename=" + path;
  command += " --rw=" + pattern_of(work) + " --bs=" + std::to_string(work.block);
  command += " --iodepth=" + std::to_string(work.depth) + " --size=" + std::to_string(work.span);
  // As the others do it: what has completed is taken at once, and as many are submitted together.
  command += " --iodepth_batch_submit=" + std::to_string(work.depth);
  command += " --iodepth_batch_complete_max=" + std::to_string(work.depth) + " --norandommap";
  if (work.kind == work_kind::durable) command += " --fdatasync=1";
  const auto time = std::chrono::ceil<std::chrono::milliseconds>(slice);
  return command + " --runtime=" + std::to_string(time.count()) + "ms";
}

double operations_a_second(const std::string& output) {
  // Notes may stand before the JSON.
  const std::size_t begin = std::min(output.find('{'), output.size());
  const auto job = nlohmann::json::parse(output.substr(begin)).at("jobs").at(0);
  if (job.at("error") != 0) fail("fio", job.at("error"));
  return job.at("read").at("iops").get<double>() + job.at("write").at("iops").get<double>();
}

}  // namespace

contestant fio(std::string_view engine, const workload& work, const std::string& path,
               std::chrono::duration<double> slice) {
  const std::string name = "fio, " + std::string(engine);
  if (!installed()) return absent(name, "fio is not installed.");
  const std::string command = command_for(engine, work, path, slice);
  return {.name = name,
          .seconds_for =
              [command](std::uint64_t operations) {
                return static_cast<double>(operations) / operations_a_second(output_of(command));
              },
          .absent = {},
          .measures_itself = true};
}

}  // namespace weir::bench
