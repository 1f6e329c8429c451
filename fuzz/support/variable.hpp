#pragma once

#include <stdlib.h>

#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "support/promise.hpp"

namespace weir::fuzzing {

/// A variable of the environment, in memory of its own: setenv(3) never frees what it was given.
class variable {
 public:
  explicit variable(std::string_view name) : name_(std::string(name) + '=') {}
  variable(const variable&) = delete;
  variable& operator=(const variable&) = delete;
  ~variable() = default;  // of static storage: the environment refers to it

  void set(std::string_view value) {
    const std::string text = name_ + std::string(value.substr(0, text_.size() - name_.size() - 1));
    std::memcpy(text_.data(), text.c_str(), text.size() + 1);
    promise(::putenv(text_.data()) == 0);
  }

 private:
  std::string name_;
  std::array<char, 4096> text_{};
};

}  // namespace weir::fuzzing
