#include "campaign/trial.hpp"

#include <cerrno>
#include <cstring>

#include "campaign/words.hpp"

namespace weir::campaign {

void not_available(std::string_view call) {
  throw unavailable(in_words(call, ": ", name_of_error(errno)));
}

std::string_view name_of_error(int error) {
  const char* name = ::strerrorname_np(error);
  return name != nullptr ? name : "an unknown error";
}

std::unique_ptr<io_context> trial::open_context(const driver_options& options) {
  driver_options named = options;
  named.name = which_.driver;
  std::vector<driver_report> tried;
  auto opened = open_driver(named, tried);
  if (!opened) throw unavailable(tried.back().reason);
  return std::make_unique<io_context>(std::move(*opened));
}

void trial::count_refusal(int error) noexcept {
  account_.refused[static_cast<std::size_t>(error)].fetch_add(1);
}

bool trial::is_expected(int error) const noexcept {
  return lasts_ && static_cast<std::size_t>(error) < account::errors &&
         std::ranges::find(which_.what->expects, error) != which_.what->expects.end();
}

void trial::operation_failed(opcode op, int error) noexcept {
  if (is_expected(error)) return count_refusal(error);
  odd(in_words("opcode ", static_cast<int>(op), " answered ", name_of_error(error),
               lasts_ ? "" : " without a fault"));
}

void trial::data_missing(std::string_view what) noexcept {
  account_.data_missing.fetch_add(1);
  account_.remark(what);
}

void trial::odd(std::string_view what) noexcept {
  account_.odd.fetch_add(1);
  account_.remark(what);
}

void trial::crashed(std::string_view what) noexcept {
  account_.crashed.fetch_add(1);
  account_.remark(what);
}

void trial::leaked(std::uint64_t count, std::string_view what) noexcept {
  account_.leaked.fetch_add(count);
  account_.remark(in_words(count, " ", what, " leaked"));
}

void trial::expect_felt(int error) noexcept {
  if (account_.refused[static_cast<std::size_t>(error)] == 0) {
    odd(in_words("nothing was refused with ", name_of_error(error)));
  }
}

void trial::expect_opened_or_refused(const result<std::unique_ptr<weir::driver>>& opened) noexcept {
  if (opened) return;
  const std::error_code& error = opened.error();
  const bool is_errno = error.category() == std::system_category();
  if (is_errno && is_expected(error.value())) return count_refusal(error.value());
  odd("a driver could not be opened: " + error.message());
}

void tracked::start(io_context& context, const request& what) {
  args = what;
  pending_ = true;
  trial_->operation_started();
  context.start(*this);
}

void tracked::complete(operation& op) noexcept {
  auto& self = static_cast<tracked&>(op);
  if (!std::exchange(self.pending_, false)) return self.trial_->operation_completed_twice();
  self.trial_->operation_completed();
  if (op.answer() < 0) self.trial_->operation_failed(op.args.op, -op.answer());
  if (self.then_) self.then_(self);
}

}  // namespace weir::campaign
