#include "drivers/uring_restrict.hpp"

#include <array>
#include <cerrno>
#include <cstddef>

#include "drivers/uring_prepare.hpp"
#include "weir/request.hpp"

namespace weir::detail {
namespace {

// Besides what operations become: transfers with registered memory, and the driver's own clock.
constexpr std::array<std::uint8_t, 5> other_opcodes = {IORING_OP_NOP, IORING_OP_READ_FIXED,
                                                       IORING_OP_WRITE_FIXED, IORING_OP_TIMEOUT,
                                                       IORING_OP_TIMEOUT_REMOVE};
// The oldest first.
constexpr std::array<std::uint8_t, 5> registrations = {
    IORING_REGISTER_EVENTFD, IORING_REGISTER_ENABLE_RINGS, IORING_REGISTER_BUFFERS2,
    IORING_REGISTER_BUFFERS_UPDATE, IORING_REGISTER_IOWQ_MAX_WORKERS};
constexpr std::size_t newer_registrations = 3;  // than restrictions themselves

/// What is allowed: a list that the kernel takes once.
class allowances {
 public:
  // The kernel refuses a list that has opcodes it does not know.
  void add_opcode(const io_uring_probe& probe, std::uint8_t op) noexcept {
    if (io_uring_opcode_supported(&probe, op) == 0) return;
    next(IORING_RESTRICTION_SQE_OP).sqe_op = op;
  }
  void add_registration(std::uint8_t what) noexcept {
    next(IORING_RESTRICTION_REGISTER_OP).register_op = what;
  }
  void add_flags(std::uint8_t flags) noexcept {
    next(IORING_RESTRICTION_SQE_FLAGS_ALLOWED).sqe_flags = flags;
  }

  /// Without the newest registrations where the kernel has not heard of them: what it does not know
  /// it does not do either.
  int tell(const uring_ring& ring) const noexcept {
    int answer = -EINVAL;
    for (std::size_t left = count_; answer == -EINVAL && left + newer_registrations >= count_;
         --left) {
      answer = ring.tell(IORING_REGISTER_RESTRICTIONS, list_.data(), static_cast<unsigned>(left));
    }
    return answer;
  }

 private:
  io_uring_restriction& next(std::uint16_t kind) noexcept {
    io_uring_restriction& added = list_[count_++];
    added.opcode = kind;
    return added;
  }

  std::array<io_uring_restriction, opcode_count + other_opcodes.size() + registrations.size() + 1>
      list_{};
  std::size_t count_ = 0;
};

void add_opcodes(allowances& allowed, const io_uring_probe& probe) noexcept {
  for (const std::uint8_t op : other_opcodes) allowed.add_opcode(probe, op);
  for (unsigned op = 0; op < opcode_count; ++op) {
    if (const auto native = native_opcode(static_cast<opcode>(op))) {
      allowed.add_opcode(probe, *native);
    }
  }
}

}  // namespace

std::expected<void, refusal> restrict_to_own(uring_ring& ring) noexcept {
  io_uring_probe* const probe = ring.probe();
  if (probe == nullptr) return std::unexpected(refusal{"io_uring_register", ENOMEM});
  allowances allowed;
  add_opcodes(allowed, *probe);
  allowed.add_flags(IOSQE_ASYNC);
  for (const std::uint8_t what : registrations) allowed.add_registration(what);  // at the end
  io_uring_free_probe(probe);
  const int answer = allowed.tell(ring);
  if (answer < 0) return std::unexpected(refusal{"io_uring_register", -answer});
  return {};
}

}  // namespace weir::detail
