#include <poll.h>

#include <array>
#include <cerrno>
#include <deque>
#include <memory>

#include "campaign/faults/faults.hpp"
#include "campaign/words.hpp"
#include "campaign/workload.hpp"
#include "clock.hpp"

namespace weir::campaign {
namespace {

constexpr std::array errors = {ECANCELED};
constexpr std::size_t count = 100'000;
constexpr std::size_t piece = 64;
constexpr std::int64_t longest_pause_ns = 20'000'000;

/// One of so many: reads, writes to a place of its own, polls or pauses.
struct one {
  one(trial& now, std::size_t number) : op(now), place(number * piece) {}

  tracked op;
  std::uint64_t place;
  std::array<std::byte, piece> memory{};
};

/// The files, and what each operation does with them.
class crowd {
 public:
  explicit crowd(trial& now)
      : trial_(now),
        source_(testing::make_patterned_file(now.directory() + "/source", count * piece)),
        target_(testing::make_file(now.directory() + "/target", count * piece)),
        pipe_(testing::make_pipe()) {
    pipe_.feed(1);
    for (std::size_t i = 0; i < count; ++i) all_.emplace_back(now, i);
  }

  void start(io_context& context) {
    for (std::size_t i = 0; i < count; ++i) all_[i].op.start(context, prepare(i));
  }

  void verify() {
    for (std::size_t i = 0; i < count; ++i) {
      if (!is_right(i)) trial_.data_missing(in_words("operation ", i, " succeeded in vain"));
    }
  }

 private:
  request prepare(std::size_t i) {
    one& each = all_[i];
    switch (i % 10) {
      case 7:
      case 8:
        testing::fill(each.memory, each.place, 1);
        return testing::write_request(target_.get(), each.memory, each.place);
      case 9:
        return i % 100 == 9 ? request{.op = opcode::poll, .fd = pipe_.read.get(), .flags = POLLIN}
                            : pause(i);
      default:
        return testing::read_request(source_.get(), each.memory, each.place);
    }
  }

  static request pause(std::size_t i) {
    const auto random = static_cast<std::int64_t>(i * 7919);
    const std::int64_t until = detail::monotonic_now_ns() + random % longest_pause_ns;
    return {.op = opcode::timeout, .offset = static_cast<std::uint64_t>(until)};
  }

  bool is_right(std::size_t i) {
    const one& each = all_[i];
    if (each.op.answer() < 0) return true;
    if (each.op.args.op == opcode::read) {
      return each.op.answer() == piece && testing::holds_pattern(each.memory, each.place);
    }
    if (each.op.args.op != opcode::write) return true;
    std::array<std::byte, piece> found{};
    const auto got = ::pread(target_.get(), found.data(), piece, static_cast<off_t>(each.place));
    return each.op.answer() == piece && got == piece && found == each.memory;
  }

  trial& trial_;
  testing::descriptor source_;
  testing::descriptor target_;
  testing::pipe_ends pipe_;
  std::deque<one> all_;
};

// All of them to their end; or given up, by the context's user or its destructor.
void strike(trial& now) {
  const bool deep = now.number() % 2 != 0;
  crowd many(now);
  auto context = now.open_context({.queue_depth = deep ? 1024U : 64U});
  many.start(*context);
  switch (now.number() % 3) {
    case 0:
      context->run();
      break;
    case 1:
      context->dispatch(true);
      now.fault_begins();
      context->cancel_and_drain();
      break;
    default:
      context->dispatch(true);
      now.fault_begins();
      break;
  }
  context.reset();
  many.verify();
}

}  // namespace

const fault many_outstanding{
    .name = "100 000 outstanding",
    .does =
        "so many operations are started at once on a queue of 64 or 1024, and end, or are "
        "cancelled, or the context is destroyed",
    .expects = errors,
    .strike = &strike,
    .short_tries = 3,
    .long_tries = 6,
};

}  // namespace weir::campaign
