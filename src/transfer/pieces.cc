#include "transfer/pieces.hpp"

#include <cerrno>

namespace weir::detail {

const std::shared_ptr<piece_store>& piece_store::of_this_thread() {
  // A context may outlive its thread, and then whoever holds a piece keeps this alive.
  static thread_local const auto store = std::make_shared<piece_store>();
  return store;
}

// Makes one where there may be more.
bool piece_store::has_free() noexcept {
  if (!free_.empty() || lent_ == most) return !free_.empty();
  auto made = buffer::allocate(piece_size);
  if (!made) return false;
  free_.push_back(*std::move(made));
  return true;
}

std::optional<piece> piece_store::try_take() noexcept {
  if (!line_.empty() || !has_free()) return std::nullopt;
  return lend();
}

piece piece_store::lend() noexcept {
  ++lent_;
  buffer memory = std::move(free_.back());
  free_.pop_back();
  return {shared_from_this(), std::move(memory)};
}

// Where there is no memory for one, but some are on loan, one of those will do.
bool piece_store::serve(piece_state& one) noexcept {
  if (!has_free()) return lent_ == 0 && one.refuse(-ENOMEM);
  one.taken_ = lend();
  return true;
}

// The first who waits has it, so while any is free nobody waits.
void piece_store::give_back(buffer memory) noexcept {
  --lent_;
  free_.push_back(std::move(memory));
  if (line_.empty()) return;
  auto& first = static_cast<piece_state&>(line_.pop_front());
  first.waiting_ = false;
  serve(first);
  first.go_on();
}

void piece_state::begin(continuation next) noexcept {
  continue_with(next);
  if (try_at_once()) return go_on();
  waiting_ = true;
  store_->line_.push_back(*this);
}

// A piece that is on its way already is kept: nothing is to be cancelled.
operation* piece_state::stop() noexcept {
  if (withdraw()) {
    outcome_ = was_cancelled;
    go_on();
  }
  return nullptr;
}

result<piece> piece_state::take() noexcept {
  if (outcome_ < 0) return std::unexpected(errno_code(-outcome_));
  return std::move(taken_);
}

}  // namespace weir::detail
