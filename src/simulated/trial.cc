#include "simulated/trial.hpp"

#include <coroutine>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <utility>

namespace weir::detail::simulated {
namespace {

// --- Work that may not end -----------------------------------------------------------------------

/// A scenario or a check on its way. Unlike a task it can be looked at, and dropped halfway, so
/// that one that never ends is a failure and not a hang.
class errand {
 public:
  struct promise_type {
    errand get_return_object() noexcept {
      return errand{std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { thrown = std::current_exception(); }

    std::exception_ptr thrown;
  };

  errand(const errand&) = delete;
  errand& operator=(const errand&) = delete;
  errand(errand&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  errand& operator=(errand&&) = delete;
  ~errand() {
    if (frame_) frame_.destroy();
  }

  void begin() const { frame_.resume(); }
  bool done() const noexcept { return frame_.done(); }
  const std::exception_ptr& thrown() const noexcept { return frame_.promise().thrown; }

 private:
  explicit errand(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}

  std::coroutine_handle<promise_type> frame_;
};

errand errand_for(task<void> scenario) { co_await std::move(scenario); }

errand errand_for(task<std::string> check, std::string& answer) {
  answer = co_await std::move(check);
}

std::string words_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& failure) {
    return std::string("threw: ") + failure.what();
  } catch (...) {
    return "threw what is no std::exception";
  }
}

// --- A machine that is on ------------------------------------------------------------------------

/// A disk and a context on it, and what runs there.
class powered {
 public:
  powered(simulated_disk disk, unsigned queue_depth, std::shared_ptr<void> notes)
      : notes_(std::move(notes)),
        disk_(std::move(disk)),
        context_(context_on(disk_, queue_depth)) {}

  simulated_disk& disk() noexcept { return disk_; }
  simulation offered_to(std::uint64_t seed) noexcept { return {*context_, disk_, seed}; }

  /// What it threw, or why it comes to no end; "" where it has ended well.
  std::string run(errand work);
  /// It starts operations for ever, so it can be neither awaited nor destroyed: `abandon` this.
  bool stuck() const noexcept { return stuck_; }

  /// What is in flight is answered.
  void end_context() noexcept { context_.reset(); }

 private:
  static std::unique_ptr<io_context> context_on(const simulated_disk& disk, unsigned queue_depth) {
    auto opened = disk.open_driver(queue_depth);
    if (!opened) throw std::system_error(opened.error(), "a driver of the simulated disk");
    return std::make_unique<io_context>(*std::move(opened));
  }
  std::string drive();

  std::shared_ptr<void> notes_;
  simulated_disk disk_;
  std::unique_ptr<io_context> context_;
  std::optional<errand> work_;
  bool stuck_ = false;
};

// Whoever looks at each answer ends within a few turns of a power failure; and a run is tried as
// often as it has operations.
constexpr std::uint64_t most_turns_without_power = 100'000;
constexpr std::uint64_t most_operations = 10'000'000;

std::string powered::run(errand work) {
  work_.emplace(std::move(work));
  context_->flush();  // from here on it is this thread's, and knows
  work_->begin();
  std::string unended = drive();
  if (!unended.empty()) return unended;
  if (const std::exception_ptr thrown = work_->thrown()) unended = words_of(thrown);
  work_.reset();
  return unended;
}

std::string powered::drive() {
  std::uint64_t turns_without_power = 0;
  bool too_many = false;
  const bool over = disk_.run_until({context_.get()}, [&] {
    if (work_->done()) return true;
    if (!disk_.is_on()) ++turns_without_power;
    too_many =
        turns_without_power > most_turns_without_power || disk_.operations() > most_operations;
    return too_many;
  });
  if (!over) {
    work_.reset();  // nothing is in flight, so nothing refers to it
    return "waits for what nobody will bring: nothing is in flight";
  }
  stuck_ = too_many;
  if (!too_many) return {};
  if (!disk_.is_on()) return "goes on after the power failure, whatever it is answered";
  return "comes to no end: it has started " + std::to_string(most_operations) + " operations";
}

/// Its operations are in flight and it would start others, so its memory is never free again. Kept
/// where leak checkers see it.
void abandon(std::unique_ptr<powered> stuck) {
  static std::mutex mutex;
  static auto* const abandoned = new std::vector<std::unique_ptr<powered>>;
  const std::scoped_lock lock(mutex);
  abandoned->push_back(std::move(stuck));
}

std::string said_of(const char* whom, const std::string& what) {
  return what.empty() ? what : std::string(whom) + ' ' + what;
}

// --- A run ---------------------------------------------------------------------------------------

simulated_disk disk_for(const trial& which, const explore_options& options) {
  simulated_options wanted = options.disk;
  wanted.seed = which.seed;
  wanted.trace = which.trace;
  // Without a power failure nothing is lost, but a new machine begins with what is there.
  if (which.power_off_after == never) wanted.loss = power_loss::none;
  if (which.faults) wanted.replay = which.faults;
  auto made = simulated_disk::make(wanted);
  if (!made) throw std::system_error(made.error(), "the simulated disk");
  if (which.power_off_after != at_the_end) made->power_off_after(which.power_off_after);
  return *std::move(made);
}

void look_at(const simulated_disk& disk, const trial& which, verdict& found) {
  found.operations += disk.operations();
  if (which.trace) found.trace += disk.trace();
}

/// The disk that is left, for whom it is to be checked; nothing where the scenario has failed.
std::optional<simulated_disk> run_scenario(const trial& which, const explored& what,
                                           const explore_options& options,
                                           const std::shared_ptr<void>& notes, verdict& found) {
  auto machine = std::make_unique<powered>(disk_for(which, options), options.queue_depth, notes);
  found.wrong = said_of(
      "the scenario",
      machine->run(errand_for(what.scenario(machine->offered_to(which.seed), notes.get()))));
  simulated_disk disk = machine->disk();
  found.scenario_operations = disk.operations();
  if (machine->stuck()) {
    abandon(std::move(machine));
  } else {
    if (which.power_off_after != never) disk.power_off();
    machine->end_context();
  }
  std::optional<simulated_disk> left;
  if (!found.failed()) left = disk.power_on();
  found.faults = disk.faults_met();
  found.digest = disk.trace_digest();
  look_at(disk, which, found);
  return left;
}

void run_check(const trial& which, simulated_disk left, const explored& what,
               const explore_options& options, const std::shared_ptr<void>& notes, verdict& found) {
  auto machine = std::make_unique<powered>(std::move(left), options.queue_depth, notes);
  std::string answer;
  found.wrong = said_of(
      "the check",
      machine->run(errand_for(what.check(machine->offered_to(which.seed), notes.get()), answer)));
  if (!found.failed()) found.wrong = std::move(answer);
  simulated_disk disk = machine->disk();
  if (machine->stuck()) {
    abandon(std::move(machine));
  } else {
    machine->end_context();
  }
  look_at(disk, which, found);
}

}  // namespace

verdict carry_out(const trial& which, const explored& what, const explore_options& options) {
  verdict found;
  const std::shared_ptr<void> notes = what.make_notes();
  std::optional<simulated_disk> left = run_scenario(which, what, options, notes, found);
  if (left) run_check(which, *std::move(left), what, options, notes, found);
  return found;
}

}  // namespace weir::detail::simulated
