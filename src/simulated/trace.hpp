#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "weir/request.hpp"
#include "weir/simulated.hpp"

namespace weir::detail::simulated {

/// Something that happened: an operation that was carried out, a fault, or the power.
struct event {
  enum class kind : std::uint8_t { operation, fault, power_off, power_on };

  kind what = kind::operation;
  opcode op = opcode::nop;
  simulated_fault fault = {};
  std::uint32_t part = 0;
  std::uint32_t client = 0;
  std::int32_t answer = 0;
  std::int64_t at_ns = 0;
  std::uint64_t number = 0;
  std::uint64_t file = 0;  // an inode's number; 0 where none is known
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::string names;  // the path, or both
};

/// What happened so far, as text for people and as a number for comparing.
class trace {
 public:
  explicit trace(bool kept) noexcept : kept_(kept) {}

  bool kept() const noexcept { return kept_; }
  void add(event happened);
  std::uint64_t digest() const noexcept { return digest_; }
  std::string text() const;

 private:
  bool kept_;
  std::uint64_t digest_ = 0;
  std::vector<event> events_;
};

}  // namespace weir::detail::simulated
