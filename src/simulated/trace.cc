#include "simulated/trace.hpp"

#include <array>
#include <string_view>
#include <utility>

#include "opcode_names.hpp"
#include "simulated/faults.hpp"
#include "simulated/random.hpp"

namespace weir::detail::simulated {
namespace {

constexpr std::size_t time_width = 14;

std::string padded(std::int64_t number, std::size_t width) {
  std::string text = std::to_string(number);
  if (text.size() < width) text.insert(0, width - text.size(), ' ');
  return text;
}

bool has_range(opcode op) noexcept {
  switch (op) {
    case opcode::read:
    case opcode::write:
    case opcode::readv:
    case opcode::writev:
    case opcode::fallocate:
    case opcode::copy_file_range:
      return true;
    default:
      return false;
  }
}

std::string text_of_operation(const event& what) {
  std::string text = " c" + std::to_string(what.client) + " ";
  text += name_of(what.op);
  if (what.file != 0) text += " i" + std::to_string(what.file);
  if (!what.names.empty()) text += " " + what.names;
  if (has_range(what.op)) {
    text += " " + std::to_string(what.length) + " at " + std::to_string(what.offset);
  } else if (what.op == opcode::ftruncate) {
    text += " to " + std::to_string(what.offset);
  }
  return text + " = " + std::to_string(what.answer);
}

std::string text_of_fault(const event& what) {
  std::string text = "   ! ";
  text += name_of(what.fault);
  if (what.part == whole_operation) {
    text += ", all of it";
  } else if (what.part == its_sync) {
    text += ", its sync";
  } else if (what.part != 0) {
    text += ", page " + std::to_string(what.part);
  }
  if (what.file != 0) text += ", of i" + std::to_string(what.file);
  if (!what.names.empty()) text += ", of " + what.names;
  return text;
}

std::string text_of(const event& what) {
  switch (what.what) {
    case event::kind::operation:
      return text_of_operation(what);
    case event::kind::fault:
      return text_of_fault(what);
    case event::kind::power_off:
      return " the power fails";
    case event::kind::power_on:
      return " the power is back";
  }
  return {};
}

std::uint64_t digest_of(const event& what) noexcept {
  const std::uint64_t kinds =
      static_cast<std::uint64_t>(what.what) | static_cast<std::uint64_t>(what.op) << 8 |
      static_cast<std::uint64_t>(what.fault) << 16 | static_cast<std::uint64_t>(what.client) << 32;
  const std::uint64_t answer = static_cast<std::uint32_t>(what.answer);
  std::uint64_t digest = kinds;
  for (const std::uint64_t each : {static_cast<std::uint64_t>(what.at_ns), what.number, what.file,
                                   what.offset, what.length, answer << 32 | what.part}) {
    digest = digest * 0x100000001b3 + each;
  }
  for (const char each : what.names) digest = digest * 31 + static_cast<unsigned char>(each);
  return digest;
}

}  // namespace

void trace::add(event happened) {
  digest_ = mixed(digest_ ^ digest_of(happened));
  if (kept_) events_.push_back(std::move(happened));
}

std::string trace::text() const {
  std::string text;
  for (const event& each : events_) {
    text += padded(each.at_ns, time_width) + " ns";
    if (each.number != 0) text += " #" + std::to_string(each.number);
    text += text_of(each) + "\n";
  }
  return text;
}

}  // namespace weir::detail::simulated

namespace weir {

const char* name_of(simulated_fault what) noexcept {
  constexpr std::array<const char*, 11> names = {
      "lost",        "torn",           "misdirected", "bit rot",     "bad sector", "I/O error",
      "sync failed", "short transfer", "interrupted", "would block", "stalled"};
  return names[static_cast<std::size_t>(what)];
}

}  // namespace weir
