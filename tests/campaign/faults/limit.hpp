#pragma once

#include <sys/resource.h>

#include "campaign/trial.hpp"

namespace weir::campaign {

/// A lower limit of this process, while it lives. Only the soft one: it can be lifted again.
class lowered_limit {
 public:
  lowered_limit(__rlimit_resource what, rlim_t to) : what_(what) {
    if (::getrlimit(what, &before_) != 0) not_available("getrlimit");
    rlimit lower = before_;
    lower.rlim_cur = to;
    if (::setrlimit(what, &lower) != 0) not_available("setrlimit");
  }
  lowered_limit(const lowered_limit&) = delete;
  lowered_limit& operator=(const lowered_limit&) = delete;
  ~lowered_limit() { ::setrlimit(what_, &before_); }

 private:
  __rlimit_resource what_;
  rlimit before_{};
};

}  // namespace weir::campaign
