#pragma once

#include <fcntl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "stream/blocks.hpp"
#include "weir/io_context.hpp"

namespace weir::detail {

/// Takes out of the page cache what a reader has left behind. In large steps: the page cache keeps
/// files in folios of up to megabytes, of which posix_fadvise(2) lets go only as wholes, so that
/// what is dropped block by block mostly stays.
///
/// It knows one run: a part of the file that is read in order. The run grows by blocks, is dropped
/// up to what has been passed, and all of it when it is over.
class drop_behind {
 public:
  /// As much is dropped at once, at least; two or three times as much is cached at most.
  static constexpr std::uint64_t step = std::uint64_t{8} << 20;

  /// `dropped` is told when something has been dropped, and may destroy this.
  drop_behind(file& target, continuation dropped) noexcept : target_(target), dropped_(dropped) {}

  /// Whether a block that begins there continues the run, or may begin one.
  bool takes(std::uint64_t start) const noexcept { return empty() || (!over_ && start == reach_); }
  void add(std::uint64_t start, std::uint64_t length) noexcept {
    if (empty()) {
      first_ = begun_ = passed_ = start;
      over_ = false;
    }
    reach_ = start + length;
  }

  /// A block of the run is not wanted any more, but in flight: its pages will come.
  void add_stray() noexcept { ++strays_; }
  void stray_came() noexcept {
    --strays_;
    go_on();
  }

  /// What is before has been read.
  void pass(std::uint64_t position) noexcept {
    passed_ = position;
    go_on();
  }
  /// Nobody reads on from where the run ends.
  void end_run() noexcept {
    over_ = true;
    go_on();
  }
  /// The same just before the file is closed, after which it is too late. What is in flight still
  /// may stay cached; where the end of the file was reached, that is nothing.
  void finish() noexcept {
    over_ = true;
    if (!empty() && !last_advice_) drop_up_to(reach_, advice_ ? last_advice_ : advice_);
  }
  bool busy() const noexcept { return advice_ || last_advice_; }

 private:
  using advice_state = decltype(std::declval<file&>().advise(0, 0, 0))::state_type;

  bool empty() const noexcept { return begun_ == reach_; }
  void go_on() noexcept {
    if (busy() || empty() || strays_ != 0) return;
    const std::uint64_t last = over_ ? reach_ : std::min(passed_, reach_);
    if (!over_ && last < begun_ + step) return;
    drop_up_to(last, advice_);
  }
  // Again from a step before, for the folio in which that ended; where the run is over, a step
  // further, too, for the kernel has read ahead on its own.
  void drop_up_to(std::uint64_t last, std::optional<advice_state>& by) noexcept {
    const std::uint64_t from = std::max(first_, begun_ - std::min(begun_, step));
    const std::uint64_t length = last - from + (over_ ? step : 0);
    begun_ = last;
    by.emplace(state_of_sender(target_.advise(from, length, POSIX_FADV_DONTNEED)));
    if (by->ready()) return by.reset();  // closed
    by->begin(&by == &advice_ ? continuation::calling<&drop_behind::ended>(*this)
                              : continuation::calling<&drop_behind::last_ended>(*this));
  }
  // Pages that stay cached are no failure of a stream, so nobody asks for the answer.
  void ended() noexcept {
    advice_.reset();
    go_on();
    dropped_();
  }
  void last_ended() noexcept {
    last_advice_.reset();
    dropped_();
  }

  file& target_;
  const continuation dropped_;
  std::uint64_t first_ = 0;  // of the run
  std::uint64_t begun_ = 0;  // up to there it is dropped, or is being dropped
  std::uint64_t reach_ = 0;  // its end
  std::uint64_t passed_ = 0;
  std::size_t strays_ = 0;
  bool over_ = false;
  std::optional<advice_state> advice_;
  std::optional<advice_state> last_advice_;
};

}  // namespace weir::detail
