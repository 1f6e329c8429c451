#include "daemon/server/operations_session.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "daemon/disk_file.hpp"
#include "daemon/message_socket.hpp"
#include "daemon/served.hpp"
#include "resident_read.hpp"

namespace weir::detail::daemon {
namespace {

constexpr std::size_t answers_in_a_message =
    (frame_max - sizeof(completed_answer)) / sizeof(completed_operation);

bool is_transfer(opcode op) noexcept { return op == opcode::read || op == opcode::write; }

}  // namespace

operations_session::operations_session(io_context& context, int connection,
                                       bool allow_write) noexcept
    : context_(context),
      connection_(connection),
      allow_write_(allow_write),
      turn_(*this,
            [](operation& op) noexcept {
              auto& self = static_cast<watch&>(op).owner();
              self.send_answers();
              self.check_over();
            }),
      room_(*this,
            [](operation& op) noexcept {
              auto& self = static_cast<watch&>(op).owner();
              if (op.answer() < 0) self.cut_ = true;
              self.send_answers();
              self.check_over();
            }),
      give_up_room_(*this,
                    [](operation& op) noexcept { static_cast<watch&>(op).owner().check_over(); }) {}

operations_session::~operations_session() {
  if (memory_ != nullptr) ::munmap(memory_, memory_size_);
}

// --- attaching -----------------------------------------------------------------------------------

int operations_session::attach(const attach_request& asked, descriptor memory) {
  if (attached()) return -EALREADY;
  slots_.resize(slots_max);
  by_tag_.resize(asked.queue_depth);
  answers_.reserve(asked.queue_depth);
  while (records_.size() < asked.queue_depth) free_.push_back(&records_.emplace_back(*this));
  return map(memory.get(), asked.memory_size);
}

// Seals are something that only files in memory have: behind anything else may be a file system
// whose server, the client itself, never answers a page fault.
int operations_session::map(int memory, std::uint64_t size) noexcept {
  struct stat status{};
  if (::fcntl(memory, F_GET_SEALS) < 0 || ::fstat(memory, &status) != 0) return -EINVAL;
  if (static_cast<std::uint64_t>(status.st_size) < size) return -EINVAL;
  void* const mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (mapped == MAP_FAILED) return -errno;
  memory_ = static_cast<std::byte*>(mapped);
  memory_size_ = size;
  return 0;
}

// --- beginning -----------------------------------------------------------------------------------

bool operations_session::submit(const checked_frame& asked, std::span<descriptor> files) {
  if (!attached()) return false;
  for (std::size_t i = 0; i < asked.slot_count; ++i) {
    const auto slot = read_as<std::uint32_t>(asked.slots, i);
    place(slot, i < files.size() ? std::move(files[i]) : descriptor());
  }
  in_submit_ = true;
  for (std::size_t i = 0; i < asked.operation_count; ++i) {
    begin(read_as<wire_operation>(asked.operations, i));
  }
  in_submit_ = false;
  send_answers();
  return true;
}

// What is in flight keeps the file that it began with. An empty slot is what is not served.
void operations_session::place(std::uint32_t slot, descriptor given) {
  slots_[slot].reset();
  if (given && is_disk_file(given.get())) {
    slots_[slot] = std::make_shared<const descriptor>(std::move(given));
  }
}

void operations_session::begin(const wire_operation& asked) {
  if (asked.op == opcode::cancel) return cancel(asked);
  if (free_.empty()) return answer(asked.tag, -EBUSY);
  record& next = *free_.back();
  if (const int refused = prepare(next, asked); refused < 0) {
    next.on.reset();
    next.also_on.reset();
    return answer(asked.tag, refused);
  }
  free_.pop_back();
  next.tag = asked.tag;
  next.used = true;
  last_with(asked.tag) = &next;
  const bool may_be_at_once =
      asked.op == opcode::read && asked.flags == 0 && (asked.hints & hint::direct) == 0;
  if (may_be_at_once && read_resident(next) == at_once::done) {
    answer(next.tag, next.answer());
    return free(next);
  }
  context_.start(next);
}

int operations_session::prepare(record& into, const wire_operation& asked) const noexcept {
  if (!is_served(asked.op)) return -not_served;
  if (asked.slot < 0 || static_cast<std::uint32_t>(asked.slot) >= slots_max) return -EBADMSG;
  if (!is_lent(asked.priority)) return -EPERM;
  if (changes_files(asked.op) && !allow_write_) return -EROFS;
  into.on = slots_[static_cast<std::uint32_t>(asked.slot)];
  if (!into.on) return -not_served;
  into.args = {.op = asked.op,
               .hints = static_cast<std::uint8_t>(asked.hints & hint::direct),
               .priority = asked.priority,
               .fd = into.on->get(),
               .flags = asked.flags,
               .mode = asked.mode,
               .address = nullptr,
               .offset = asked.offset,
               .length = asked.length};
  if (is_transfer(asked.op)) {
    if (!within_memory(asked.memory, asked.length)) return -EBADMSG;
    into.args.address = memory_ + asked.memory;
  } else if (asked.op == opcode::copy_file_range) {
    if (asked.mode >= slots_max) return -EBADMSG;
    into.also_on = slots_[asked.mode];
    if (!into.also_on) return -not_served;
    into.args.mode = static_cast<std::uint32_t>(into.also_on->get());
    into.args.address = std::bit_cast<void*>(asked.memory);  // a number: an offset
  }
  return 0;
}

bool operations_session::within_memory(std::uint64_t place, std::uint64_t length) const noexcept {
  return place <= memory_size_ && length <= memory_size_ - place;
}

void operations_session::record::finished(operation& op) noexcept {
  auto& self = static_cast<record&>(op);
  operations_session& owner = self.owner_;
  owner.answer(self.tag, self.answer());
  // Who asks to cancel it still looks at it.
  if (!self.cancel_.in_flight()) owner.free(self);
  owner.answer_soon();
}

void operations_session::free(record& which) noexcept {
  which.used = false;
  which.on.reset();
  which.also_on.reset();
  free_.push_back(&which);
}

// --- cancelling ----------------------------------------------------------------------------------

void operations_session::cancel(const wire_operation& asked) noexcept {
  record* const target = last_with(asked.memory);
  const bool found = target != nullptr && target->used && target->tag == asked.memory;
  if (!found || !target->in_flight()) return answer(asked.tag, -ENOENT);
  target->cancel(asked.tag);
}

// Who asks again hears what the first was told, but nobody is remembered without bound.
void operations_session::record::cancel(std::uint64_t asked_with) noexcept {
  constexpr std::size_t tags_max = 64;
  if (cancel_.tags.size() == tags_max) return owner_.answer(asked_with, -EALREADY);
  cancel_.tags.push_back(asked_with);
  if (cancel_.in_flight()) return;
  cancel_.args = cancel_request(*this);
  owner_.context_.start(cancel_);
}

void operations_session::record::cancelling::told(operation& op) noexcept {
  auto& self = static_cast<cancelling&>(op);
  operations_session& owner = self.target_.owner_;
  for (const std::uint64_t tag : std::exchange(self.tags, {})) owner.answer(tag, self.answer());
  if (!self.target_.in_flight() && self.target_.used) owner.free(self.target_);
  owner.answer_soon();
}

// --- answers -------------------------------------------------------------------------------------

// A client that asks on and on and does not read its answers is let go.
void operations_session::answer(std::uint64_t tag, std::int64_t result) {
  if (cut_) return;
  const std::size_t most = 4 * by_tag_.size() + answers_in_a_message;
  if (answers_.size() >= most) return hang_up();
  answers_.push_back({.tag = tag, .result = result});
}

// The connection's owner reads its end, and ends this.
void operations_session::hang_up() noexcept {
  cut_ = true;
  answers_.clear();
  ::shutdown(connection_, SHUT_RDWR);
}

// Those of one turn go together.
void operations_session::answer_soon() noexcept {
  if (!in_submit_ && !turn_.in_flight()) context_.start(turn_);
}

void operations_session::send_answers() noexcept {
  if (room_.in_flight()) return;
  std::size_t sent = 0;
  while (!cut_ && sent < answers_.size()) {
    const std::size_t count = std::min(answers_.size() - sent, answers_in_a_message);
    std::array<std::byte, frame_max> bytes;
    const std::size_t size = sizeof(completed_answer) + count * sizeof(completed_operation);
    const completed_answer head{
        .header = {.kind = message::completed, .size = static_cast<std::uint32_t>(size)},
        .count = static_cast<std::uint32_t>(count)};
    std::memcpy(bytes.data(), &head, sizeof head);
    std::memcpy(bytes.data() + sizeof head, answers_.data() + sent,
                count * sizeof(completed_operation));
    const int error = send_message(connection_, std::span(bytes).first(size));
    if (error == -EAGAIN) break;
    if (error < 0) return hang_up();
    sent += count;
  }
  answers_.erase(answers_.begin(), answers_.begin() + static_cast<std::ptrdiff_t>(sent));
  if (!answers_.empty()) wait_for_room();
}

void operations_session::wait_for_room() noexcept {
  room_.args = {.op = opcode::poll, .fd = connection_, .flags = POLLOUT};
  context_.start(room_);
}

// --- the end -------------------------------------------------------------------------------------

void operations_session::end(std::move_only_function<void()> over) {
  over_ = std::move(over);
  cut_ = true;
  answers_.clear();
  for (record& each : records_) {
    if (each.used && each.in_flight() && !each.cancel_.in_flight()) each.cancel(0);
  }
  if (room_.in_flight()) {
    give_up_room_.args = cancel_request(room_);
    context_.start(give_up_room_);
  }
  check_over();
}

void operations_session::check_over() noexcept {
  if (!over_ || turn_.in_flight() || room_.in_flight() || give_up_room_.in_flight()) return;
  if (in_flight() == 0) std::exchange(over_, nullptr)();
}

}  // namespace weir::detail::daemon
