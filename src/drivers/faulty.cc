#include "weir/faulty.hpp"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "drivers/drivers.hpp"
#include "drivers/operation_table.hpp"
#include "kernel_abi.hpp"

namespace weir {
namespace detail {
namespace {

constexpr std::size_t longest_delay = 15;

bool is_vectored(opcode op) noexcept { return op == opcode::readv || op == opcode::writev; }
bool is_write(opcode op) noexcept { return op == opcode::write || op == opcode::writev; }
bool is_transfer(opcode op) noexcept {
  return op == opcode::read || op == opcode::write || is_vectored(op);
}
bool is_sync(opcode op) noexcept { return op == opcode::fsync || op == opcode::fdatasync; }

/// The faults that are an error; the first that hits an operation decides.
struct failure {
  fault what;
  std::int32_t answer;
  double faulty_options::* rate;
  bool (*befalls)(opcode);
};
constexpr std::array<failure, 4> failures = {{
    {fault::interrupted, -EINTR, &faulty_options::interrupted,
     [](opcode op) { return op != opcode::nop && op != opcode::close; }},
    {fault::would_block, -EAGAIN, &faulty_options::would_block, is_transfer},
    {fault::io_error, -EIO, &faulty_options::io_error,
     [](opcode op) { return is_transfer(op) || is_sync(op); }},
    {fault::no_space, -ENOSPC, &faulty_options::no_space,
     [](opcode op) { return is_write(op) || op == opcode::fallocate; }},
}};

/// The lengths that a shorter transfer may have: `count` of them from `shortest` on, `apart` from
/// each other. Elements, where the transfer is vectored.
struct shorter {
  std::uint64_t shortest = 0;
  std::uint64_t apart = 1;
  std::uint64_t count = 0;
};

// It ends only where it can be resumed, also past the page cache.
shorter shorter_transfers(const request& what) noexcept {
  constexpr std::uint64_t page = 4096;
  const std::uint64_t multiples = what.offset | what.length | page;
  const std::uint64_t part = multiples & (~multiples + 1);
  const std::uint64_t parts = std::min(what.length, transfer_max) / part;
  return {.shortest = part, .apart = part, .count = std::max<std::uint64_t>(parts, 1) - 1};
}

// At least one byte is left, and one is missing: to move none would mean the end of the file.
shorter shorter_vectors(const request& what) noexcept {
  constexpr std::uint64_t most = 1024;  // IOV_MAX
  if (what.address == nullptr || what.length > most) return {};
  const std::span vector(static_cast<const iovec*>(what.address), what.length);
  const auto holds_something = [](const iovec& each) { return each.iov_len != 0; };
  const auto first = std::ranges::find_if(vector, holds_something);
  if (first == vector.end()) return {};
  const auto last =
      std::ranges::find_if(vector.rbegin(), vector.rend(), holds_something).base() - 1;
  return {.shortest = static_cast<std::uint64_t>(first - vector.begin()) + 1,
          .count = static_cast<std::uint64_t>(last - first)};
}

/// Draws by number: what is drawn for one thing does not depend on whether, or when, something else
/// was drawn before.
class dice {
 public:
  explicit dice(std::uint64_t seed) noexcept : seed_(seed) {}

  /// Whether a fault of this rate hits the `number`th of what it can befall.
  bool hits(fault what, std::uint64_t number, double rate) const noexcept {
    return rate > 0 && fraction(static_cast<unsigned>(what), number) < rate;
  }
  /// How much of it, below `limit`.
  std::uint64_t amount(fault what, std::uint64_t number, std::uint64_t limit) const noexcept {
    return draw(amounts + static_cast<unsigned>(what), number) % limit;
  }
  bool tears(std::uint64_t number, double rate) const noexcept {
    return fraction(tearing, number) < rate;
  }

 private:
  // Streams that have nothing to do with each other, besides one for each fault.
  static constexpr unsigned amounts = 100;
  static constexpr unsigned tearing = 200;

  double fraction(unsigned stream, std::uint64_t number) const noexcept {
    constexpr double two_to_the_53 = 9007199254740992.0;
    return static_cast<double>(draw(stream, number) >> 11) / two_to_the_53;
  }
  std::uint64_t draw(unsigned stream, std::uint64_t number) const noexcept {
    return mixed(mixed(mixed(seed_) + stream) + number);
  }
  // splitmix64, by Sebastiano Vigna.
  static std::uint64_t mixed(std::uint64_t z) noexcept {
    z += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  std::uint64_t seed_;
};

/// From `submit` to `reap` an operation is in one of four places: held back, waiting to be handed
/// to the inner driver, there, or finished. Cancel requests find it in the first two here; the rest
/// are the inner driver's to find.
class faulty_driver final : public driver {
 public:
  faulty_driver(std::unique_ptr<driver> inner, const faulty_options& options)
      : inner_(std::move(inner)),
        options_(options),
        dice_(options.seed),
        changes_(options.queue_depth) {}

  void submit(operation_queue& staged) noexcept override;
  void reap(operation_queue& completed, deadline until) noexcept override;
  std::int64_t now_ns() const noexcept override { return inner_->now_ns(); }
  std::int32_t perform_now(const request& what) noexcept override {
    return inner_->perform_now(what);
  }
  result<std::uint64_t> random_bits() noexcept override { return inner_->random_bits(); }
  int fd() const noexcept override { return inner_->fd(); }

  // Remembered, because what is reaped on the way may take the inner driver's wake with it.
  void wake() noexcept override {
    woken_.store(true, std::memory_order_release);
    inner_->wake();
  }

 private:
  /// What `restore` mends.
  struct change {
    std::uint64_t length;
    std::int32_t answer;  // instead of success; 0 where that is to be seen
  };

  std::size_t most_to_take(std::size_t staged) noexcept;
  void take(operation& op) noexcept;
  const failure* draw_failure(opcode op, std::uint64_t number) const noexcept;
  bool tear(operation& op, std::uint64_t number) noexcept;
  bool shorten(operation& op, std::uint64_t number, std::int32_t answer) noexcept;
  void restore(operation& op) noexcept;
  void finish(operation& op, std::int32_t answer) noexcept;

  void cancel(operation& request) noexcept;
  bool withdraw(operation& target) noexcept;
  void withdraw_named(const request& cancel) noexcept;

  void hand_over() noexcept;
  void complete_early() noexcept;
  void release_due() noexcept;
  void collect(deadline until) noexcept;
  void give_back(operation_queue& completed) noexcept;

  void tell(fault what, const request& befallen) const {
    if (options_.observe) options_.observe(what, befallen);
  }

  const std::unique_ptr<driver> inner_;
  const faulty_options options_;
  const dice dice_;
  operation_table<change> changes_;

  std::array<operation_queue, longest_delay + 1> held_;  // by the round that releases them
  std::size_t held_count_ = 0;
  std::size_t round_ = 0;
  operation_queue waiting_;   // until the inner driver has room
  operation_queue cancels_;   // likewise; they overtake
  operation_queue finished_;  // not yet reaped
  std::size_t in_flight_ = 0;

  std::uint64_t operations_ = 0;  // taken, cancel requests aside
  std::uint64_t given_ = 0;       // operations given back
  std::uint64_t submits_ = 0;
  std::uint64_t reaps_ = 0;
  std::uint64_t takes_all_until_ = 0;  // this many reaps
  bool refused_ = false;               // something, since the last reap
  std::atomic<bool> woken_ = false;
};

// --- submission ----------------------------------------------------------------------------------

void faulty_driver::submit(operation_queue& staged) noexcept {
  ++submits_;
  const std::size_t most = most_to_take(staged.size());
  for (std::size_t count = 0; !staged.empty(); ++count) {
    operation& op = staged.front();
    if (takes_room(op.args.op) && in_flight_ >= options_.queue_depth) break;
    if (count == most) {
      refused_ = true;
      takes_all_until_ = reaps_ + 2;
      tell(fault::partial_submit, op.args);
      break;
    }
    staged.pop_front();
    op.args.op == opcode::cancel ? cancel(op) : take(op);
  }
  hand_over();
  if (dice_.hits(fault::early_completion, submits_, options_.early_completion)) complete_early();
}

// What was refused is taken after the next reap: even at a rate of 1 everything gets its turn.
std::size_t faulty_driver::most_to_take(std::size_t staged) noexcept {
  if (staged == 0 || reaps_ < takes_all_until_) return staged;
  if (!dice_.hits(fault::partial_submit, submits_, options_.partial_submit)) return staged;
  return dice_.amount(fault::partial_submit, submits_, staged);
}

void faulty_driver::take(operation& op) noexcept {
  const std::uint64_t number = ++operations_;
  const request asked = op.args;
  if (takes_room(asked.op)) ++in_flight_;
  if (options_.decide) {
    if (const auto answer = options_.decide(asked)) {
      tell(fault::decided, asked);
      return finish(op, *answer);
    }
  }
  if (const failure* failed = draw_failure(asked.op, number)) {
    tell(failed->what, asked);
    if (failed->what != fault::io_error || !tear(op, number)) return finish(op, failed->answer);
  } else if (dice_.hits(fault::short_transfer, number, options_.short_transfer) &&
             shorten(op, number, 0)) {
    tell(fault::short_transfer, asked);
  }
  if (!dice_.hits(fault::delay, number, options_.delay)) return waiting_.push_back(op);
  tell(fault::delay, asked);
  const auto rounds = 1 + dice_.amount(fault::delay, number, options_.delay_reaps);
  held_[(round_ + rounds) % held_.size()].push_back(op);
  ++held_count_;
}

const failure* faulty_driver::draw_failure(opcode op, std::uint64_t number) const noexcept {
  for (const failure& each : failures) {
    if (each.befalls(op) && dice_.hits(each.what, number, options_.*each.rate)) return &each;
  }
  return nullptr;
}

// A write that fails may have written a part: then the inner driver writes that, and fails here.
bool faulty_driver::tear(operation& op, std::uint64_t number) noexcept {
  return is_write(op.args.op) && dice_.tears(number, options_.torn_write) &&
         shorten(op, number, -EIO);
}

// False where there is no shorter transfer of this kind.
bool faulty_driver::shorten(operation& op, std::uint64_t number, std::int32_t answer) noexcept {
  request& what = op.args;
  if (!is_transfer(what.op) || (what.flags & rwf_atomic) != 0) return false;
  const shorter lengths = is_vectored(what.op) ? shorter_vectors(what) : shorter_transfers(what);
  if (lengths.count == 0) return false;
  changes_.insert(op, {.length = what.length, .answer = answer});
  what.length =
      lengths.shortest + lengths.apart * dice_.amount(fault::short_transfer, number, lengths.count);
  return true;
}

// What the inner driver says of an error is truer than what was drawn.
void faulty_driver::restore(operation& op) noexcept {
  if (changes_.size() == 0) return;
  const auto changed = changes_.take(op);
  if (!changed) return;
  op.args.length = changed->length;
  if (changed->answer != 0 && op.answer() >= 0) op.set_answer(changed->answer);
}

void faulty_driver::finish(operation& op, std::int32_t answer) noexcept {
  op.set_answer(answer);
  restore(op);
  finished_.push_back(op);
}

void faulty_driver::hand_over() noexcept {
  if (!cancels_.empty()) inner_->submit(cancels_);
  if (!waiting_.empty()) inner_->submit(waiting_);
}

void faulty_driver::complete_early() noexcept {
  operation_queue before = std::move(finished_);
  collect(deadline::now());
  if (!finished_.empty()) tell(fault::early_completion, finished_.front().args);
  before.append(std::move(finished_));
  finished_ = std::move(before);
}

// --- cancelling ----------------------------------------------------------------------------------

void faulty_driver::cancel(operation& request) noexcept {
  auto* target = static_cast<operation*>(request.args.address);
  if (target == nullptr) withdraw_named(request.args);
  if (target != nullptr && withdraw(*target)) return finish(request, 0);
  cancels_.push_back(request);
}

bool faulty_driver::withdraw(operation& target) noexcept {
  bool found = waiting_.remove(target);
  for (operation_queue& each : held_) {
    if (found || held_count_ == 0) break;
    found = each.remove(target);
    if (found) --held_count_;
  }
  if (found) finish(target, -ECANCELED);
  return found;
}

void faulty_driver::withdraw_named(const request& cancel) noexcept {
  const auto withdraw_from = [&](operation_queue& held) {
    operation_queue all = std::exchange(held, {});
    while (!all.empty()) {
      operation& op = all.pop_front();
      names(cancel, op) ? finish(op, -ECANCELED) : held.push_back(op);
    }
  };
  withdraw_from(waiting_);
  held_count_ = 0;
  for (operation_queue& each : held_) {
    withdraw_from(each);
    held_count_ += each.size();
  }
}

// --- completion ----------------------------------------------------------------------------------

// While something is held back there is no waiting: the rounds go by at once, until the inner
// driver has finished something or has everything.
void faulty_driver::reap(operation_queue& completed, deadline until) noexcept {
  ++reaps_;
  const bool may_wait = completed.empty() && until != deadline::now();
  bool wait = false;
  bool again = true;
  while (again) {
    release_due();
    hand_over();
    again = may_wait && finished_.empty() && !refused_ && !woken_.load(std::memory_order_relaxed);
    wait = again && held_count_ == 0;
    collect(wait ? until : deadline::now());
    again = again && !wait && finished_.empty();
  }
  const bool made_room = !finished_.empty();
  give_back(completed);
  woken_.exchange(false, std::memory_order_acquire);
  // There is more to do, of which the inner driver does not know: fd() shows it, and the next reap
  // returns at once.
  const bool more = made_room && !(waiting_.empty() && cancels_.empty());
  if (std::exchange(refused_, false) || held_count_ != 0 || more) inner_->wake();
}

void faulty_driver::release_due() noexcept {
  operation_queue& due = held_[++round_ % held_.size()];
  held_count_ -= due.size();
  waiting_.append(std::move(due));
}

void faulty_driver::collect(deadline until) noexcept {
  operation_queue done;
  inner_->reap(done, until);
  while (!done.empty()) {
    operation& op = done.pop_front();
    restore(op);
    finished_.push_back(op);
  }
}

void faulty_driver::give_back(operation_queue& completed) noexcept {
  operation_queue ordered;
  while (!finished_.empty()) {
    operation& op = finished_.pop_front();
    if (takes_room(op.args.op)) --in_flight_;
    const bool overtakes = dice_.hits(fault::reorder, ++given_, options_.reorder);
    if (overtakes && !ordered.empty()) tell(fault::reorder, op.args);
    overtakes ? ordered.push_front(op) : ordered.push_back(op);
  }
  completed.append(std::move(ordered));
}

bool is_rate(double rate) noexcept { return rate >= 0 && rate <= 1; }

bool acceptable(const faulty_options& options) noexcept {
  return options.queue_depth >= 1 && options.queue_depth <= max_queue_depth &&
         options.delay_reaps >= 1 && options.delay_reaps <= longest_delay &&
         is_rate(options.short_transfer) && is_rate(options.io_error) &&
         is_rate(options.torn_write) && is_rate(options.no_space) && is_rate(options.delay) &&
         is_rate(options.reorder) && is_rate(options.partial_submit) &&
         is_rate(options.early_completion) && is_rate(options.interrupted) &&
         is_rate(options.would_block);
}

// A number is itself; of any other text, the FNV-1a hash.
std::uint64_t seed_of(std::string_view text) noexcept {
  std::uint64_t number = 0;
  const char* end = std::to_address(text.end());
  const auto parsed = std::from_chars(std::to_address(text.begin()), end, number);
  if (parsed.ec == std::errc{} && parsed.ptr == end) return number;
  number = 0xcbf29ce484222325;
  for (const char each : text) {
    number = (number ^ static_cast<unsigned char>(each)) * 0x100000001b3;
  }
  return number;
}

}  // namespace

result<std::unique_ptr<driver>> wrap_faulty(std::unique_ptr<driver> inner,
                                            const driver_limits& limits) {
  const char* wanted = std::getenv("WEIR_FAULT_SEED");
  faulty_options options = lawful_faults(wanted != nullptr ? seed_of(wanted) : 1);
  options.queue_depth = limits.queue_depth;
  return std::make_unique<faulty_driver>(std::move(inner), options);
}

}  // namespace detail

faulty_options faults_of_timing(std::uint64_t seed) {
  return {
      .seed = seed, .delay = 0.1, .reorder = 0.2, .partial_submit = 0.1, .early_completion = 0.2};
}

faulty_options lawful_faults(std::uint64_t seed) {
  faulty_options options = faults_of_timing(seed);
  options.short_transfer = 0.05;
  options.io_error = 0.001;
  options.no_space = 0.001;
  return options;
}

result<std::unique_ptr<driver>> make_faulty(std::unique_ptr<driver> inner,
                                            const faulty_options& options) {
  if (!inner || !detail::acceptable(options)) return std::unexpected(detail::errno_code(EINVAL));
  return std::make_unique<detail::faulty_driver>(std::move(inner), options);
}

}  // namespace weir
