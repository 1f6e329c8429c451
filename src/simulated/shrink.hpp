#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "simulated/trial.hpp"

/// Making a failure short.
namespace weir::detail::simulated {

/// As few of `all` as still fail: without any one of them it does not. Removes pieces, at first the
/// whole, at last single elements (after Zeller and Hildebrandt's delta debugging, 2002).
/// `fails(all)` holds.
template <class T, class Fails>
std::vector<T> fewest(std::vector<T> all, Fails fails) {
  std::size_t length = all.size();
  while (!all.empty()) {
    bool removed = false;
    for (std::size_t begin = 0; begin < all.size();) {
      const std::size_t end = std::min(begin + length, all.size());
      std::vector<T> rest(all.begin(), std::next(all.begin(), static_cast<std::ptrdiff_t>(begin)));
      rest.insert(rest.end(), std::next(all.begin(), static_cast<std::ptrdiff_t>(end)), all.end());
      if (fails(std::as_const(rest))) {
        all = std::move(rest);
        removed = true;
      } else {
        begin = end;
      }
    }
    // What was needed before may not be any more, now that others have gone.
    if (length == 1 && !removed) break;
    length = std::max<std::size_t>(length / 2, 1);
  }
  return all;
}

class shrinker {
 public:
  using runs = std::function<verdict(const trial&)>;

  /// `run` carries a trial out; seeds may be tried up to `last_seed`.
  shrinker(runs run, std::uint64_t last_seed) : run_(std::move(run)), last_seed_(last_seed) {}

  /// The shortest failure that can be found, beginning with one of which this was the verdict.
  simulated_failure shortest(const trial& failed, const verdict& with);

 private:
  bool takes(const trial& candidate);
  bool fails_earlier(trial candidate);
  void look_for_earlier();
  void remove_faults();
  simulated_failure told();

  runs run_;
  std::uint64_t last_seed_;
  trial best_;
  verdict verdict_;
};

}  // namespace weir::detail::simulated
