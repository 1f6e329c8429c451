#include "file_state.hpp"

#include <unistd.h>

#include "commit_group.hpp"
#include "simulated/descriptors.hpp"
#include "weir/io_context.hpp"

namespace weir::detail {

file_state::file_state(io_context& on, int descriptor, bool is_direct, bool is_appending) noexcept
    : context(&on), fd(descriptor), direct(is_direct), appends(is_appending) {
  if (direct) resident.give_up();  // such a try was seen to block
}

file_state::~file_state() = default;

void file_state::count_finish() noexcept {
  ++finished_;
  act_when_idle();
}

void file_state::close_when_idle(operation& close_operation) noexcept {
  closing_ = &close_operation;
  act_when_idle();
}

void file_state::abandon() noexcept {
  abandoned_ = true;
  act_when_idle();
}

void file_state::act_when_idle() noexcept {
  if ((closing_ == nullptr && !abandoned_) || !idle()) return;
  if (closing_ != nullptr) {
    start(*context, *std::exchange(closing_, nullptr), nullptr);
    return;
  }
  // A file may outlive its context; nobody can be told what this answers.
  if (simulated::is_simulated(fd)) {
    perform_now(*context, {.op = opcode::close, .fd = fd});
  } else {
    ::close(fd);
  }
  delete this;
}

void finish(file_state* file) noexcept {
  if (file != nullptr) file->count_finish();
}

}  // namespace weir::detail
