#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weir/driver.hpp"
#include "weir/io_context.hpp"
#include "weir/result.hpp"
#include "weir/task.hpp"

/// Work whose outcome has been promised, to be cut short anywhere and looked at afterwards: the
/// same on a simulated disk and on real ones.
///
/// Whoever tests a disk provides an io_context on it, an empty directory, and a `promises` that
/// notes what it is told together with the moment:
///
///     for (const scenario& each : portable_scenarios()) {
///       const surroundings before{.context = context, .directory = directory, .seed = seed};
///       auto done = context.run(each.run(before, noted));  // fails if the disk is cut meanwhile
///       … cut the power at some moment, bring the disk up again, with a context of its own …
///       const promise_book kept = …;                       // what was promised by that moment
///       const surroundings after{.context = recovered, .directory = directory, .seed = seed};
///       for (const std::string& wrong : recovered.run(each.check(after, kept))) report(wrong);
///     }
///
/// A cut at a moment must hold all that was promised before it. `run` and `check` are coroutines
/// that borrow what they are given: it lives until they have ended. `check` changes nothing.
///
/// All I/O goes through weir's public interface, and what is done depends on seed and rounds alone:
/// there is no other randomness, but for the names of replace_file's temporary files, and none of
/// the order in which concurrent operations end.
namespace weir::scenarios {

/// What a promise outlives.
enum class survives : std::uint8_t {
  process_end,  ///< kill -9: the kernel has it
  power_loss,   ///< the disk has it; all that outlives this outlives a process as well
};

/// Is told of a promise at the moment when weir has given it.
class promises {
 public:
  promises() = default;
  promises(const promises&) = delete;
  promises& operator=(const promises&) = delete;
  virtual ~promises() = default;

  /// From now on `subject` is to be found in this version, from 1 on, or a later one. Called on the
  /// context's thread, right after the acknowledgement, with nothing awaited in between.
  virtual void promise(std::string_view subject, std::uint64_t version, survives what) = 0;
};

/// What had been promised by a moment: for `check`. Whoever makes it leaves out what need not
/// outlive what has happened.
class promise_book {
 public:
  void add(std::string_view subject, std::uint64_t version) {
    std::uint64_t& known = versions_.try_emplace(std::string(subject), 0).first->second;
    if (version > known) known = version;
  }
  /// 0 where nothing was promised.
  std::uint64_t version_of(std::string_view subject) const {
    const auto found = versions_.find(subject);
    return found == versions_.end() ? 0 : found->second;
  }
  std::size_t size() const noexcept { return versions_.size(); }

 private:
  std::map<std::string, std::uint64_t, std::less<>> versions_;
};

/// Where a scenario happens.
struct surroundings {
  io_context& context;
  std::string directory;  ///< an absolute path; `run` finds it without names that it would use
  std::uint64_t seed = 1;
  unsigned rounds = 6;  ///< how much is done; the same for `run` and `check`
  /// Opens a further driver on the same disk, for what has a thread and a context of its own. Only
  /// those scenarios call it that say so.
  std::function<std::unique_ptr<driver>()> another_driver{};
};

/// What is wrong with what was found, in words; empty where every promise was kept.
using violations = std::vector<std::string>;

struct scenario {
  std::string_view name;
  /// Fails only where weir does: on a disk without faults that is not cut, it succeeds.
  task<result<void>> (*run)(const surroundings& where, promises& told);
  task<violations> (*check)(const surroundings& where, const promise_book& kept);
  /// Has threads of its own and calls `another_driver`: two runs differ in their timing.
  bool has_threads = false;
};

/// Those that go through the driver with all they do.
std::span<const scenario> portable_scenarios();

/// Those that break a rule on purpose and promise all the same: a test that does not find them out
/// is worth nothing. They are portable, too.
std::span<const scenario> wrong_scenarios();

}  // namespace weir::scenarios
