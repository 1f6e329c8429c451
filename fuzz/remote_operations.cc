// A client's operations with a daemon that answers them as it likes: too early, twice, with more
// bytes than were asked for, or not at all. Each completes once, none with more than it asked for,
// and nothing is left behind.
//
// An input is a list of things that happen; of what the daemon says, a byte chooses how it lies.

#include "daemon/client/remote_operations.hpp"

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "support/choices.hpp"
#include "support/disk_file.hpp"
#include "support/promise.hpp"

namespace {

using namespace weir::detail::daemon;
using weir::opcode;
using weir::operation;
using weir::fuzzing::promise;
using weir::testing::choices;

constexpr std::size_t shared_size = 64 << 10;
constexpr std::size_t memory_size = 100 << 10;  // of the callers; goes there in pieces
constexpr std::size_t most = 6;

/// What is the same for every input.
struct surroundings {
  surroundings() : memory(memory_size) {
    promise(shared.open(shared_size) == 0);
    for (int& file : files) file = weir::fuzzing::disk_file();
  }

  shared_memory shared;
  std::vector<std::byte> memory;
  std::array<int, 2> files{};
};

class begun : public operation {
 public:
  explicit begun(const weir::request& what) noexcept
      : operation(what, [](operation&) noexcept {}) {}
  std::size_t length = 0;
  std::array<iovec, 2> vector{};
  bool over = false;
};

/// A client, and the daemon that it believes in.
class conversation {
 public:
  conversation(surroundings& within, choices& by)
      : within_(within), by_(by), there_(most, within.shared, files_) {}

  void step() {
    switch (by_.below(6)) {
      case 0:
      case 1:
        begin();
        break;
      case 2:
        cancel();
        break;
      case 3:
        files_.begin_turn();
        break;
      default:
        hear();
        break;
    }
    take();
  }

  // No answers will come.
  void end() {
    there_.lose_all(-EIO);
    take();
    promise(there_.in_flight() == 0 && there_.to_send().empty());
    for (const auto& each : operations_) promise(each->over);
  }

 private:
  void begin() {
    static constexpr std::array ops = {opcode::read,      opcode::write,          opcode::readv,
                                       opcode::writev,    opcode::fsync,          opcode::ftruncate,
                                       opcode::fallocate, opcode::copy_file_range};
    if (there_.full()) return;
    weir::request what{.op = by_.one_of(ops),
                       .fd = by_.one_of(within_.files),
                       .address = within_.memory.data(),
                       .offset = by_.below(memory_size),
                       .length = by_.below(memory_size + 1)};
    auto op = std::make_unique<begun>(what);
    op->length = what.length;
    if (what.op == opcode::readv || what.op == opcode::writev) {
      const std::size_t half = what.length / 2;
      std::byte* const first = within_.memory.data();
      op->vector = {{{first, half}, {first + half, what.length - half}}};
      op->args.address = op->vector.data();
      op->args.length = op->vector.size();
    }
    if (what.op == opcode::copy_file_range) op->args.mode = static_cast<std::uint32_t>(what.fd);
    const auto by = there_.route_of(op->args, 0);
    if (!by) return;
    there_.begin(*op, *by);
    operations_.push_back(std::move(op));
  }

  void cancel() {
    if (operations_.empty()) return;
    begun& target = *operations_[by_.below(operations_.size())];
    auto request = std::make_unique<begun>(weir::cancel_request(target));
    const auto answered = there_.cancel(*request, target);
    request->over = answered.has_value();
    operations_.push_back(std::move(request));
  }

  // What was sent first may be answered last.
  void hear() {
    auto& sent = there_.to_send();
    for (const wire_operation& each : sent) promise_about(each);
    heard_.insert(heard_.end(), sent.begin(), sent.end());
    sent.clear();
    if (heard_.empty()) return;
    const std::size_t which = by_.below(heard_.size());
    const wire_operation asked = heard_[which];
    heard_.erase(heard_.begin() + static_cast<std::ptrdiff_t>(which));
    if (!there_.take_answers(answer_to(asked))) {
      heard_.clear();
      there_.lose_all(-EIO);
      files_.forget_all();
    }
  }

  static void promise_about(const wire_operation& said) {
    if (said.op != opcode::read && said.op != opcode::write) return;
    promise(said.length <= shared_size && said.memory <= shared_size - said.length);
  }

  std::vector<std::byte> answer_to(const wire_operation& asked) {
    completed_operation said{.tag = asked.tag, .result = result_of(asked)};
    if (by_.one_in(16)) said.tag = by_.number(8);
    completed_answer head{.header = {.kind = message::completed}, .count = 1};
    head.header.size = sizeof head + sizeof said;
    if (by_.one_in(16)) head.count = static_cast<std::uint32_t>(by_.number(4));
    if (by_.one_in(16)) head.header.size = static_cast<std::uint32_t>(by_.number(4));
    std::vector<std::byte> bytes(sizeof head + sizeof said);
    std::memcpy(bytes.data(), &head, sizeof head);
    std::memcpy(bytes.data() + sizeof head, &said, sizeof said);
    if (by_.one_in(16)) bytes.resize(by_.below(bytes.size()));
    return bytes;
  }

  std::int64_t result_of(const wire_operation& asked) {
    const bool transfer = asked.op == opcode::read || asked.op == opcode::write;
    switch (by_.below(8)) {
      case 0:
        return -static_cast<std::int64_t>(by_.below(200));
      case 1:
        return -not_served;
      case 2:
        return static_cast<std::int64_t>(by_.number(8));
      case 3:
        return static_cast<std::int64_t>(by_.below(asked.length + 1));
      default:
        return transfer ? static_cast<std::int64_t>(asked.length) : 0;
    }
  }

  void take() {
    for (weir::operation_queue* queue : {&there_.finished(), &there_.returned()}) {
      while (!queue->empty()) {
        auto& op = static_cast<begun&>(queue->pop_front());
        promise(!op.over);
        op.over = true;
        promise(op.answer() >= -4095);
        promise(op.answer() <= 0 || static_cast<std::size_t>(op.answer()) <= op.length);
      }
    }
  }

  surroundings& within_;
  choices& by_;
  shared_files files_;
  remote_operations there_;
  std::vector<std::unique_ptr<begun>> operations_;
  std::vector<wire_operation> heard_;  // by the daemon, and not yet answered
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static surroundings within;
  choices by({data, size});
  conversation with(within, by);
  constexpr int steps_most = 200;
  for (int i = 0; i < steps_most && !by.used_up(); ++i) with.step();
  with.end();
  return 0;
}
