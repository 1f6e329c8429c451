#include "drivers/poll_set.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <span>

#include "perform.hpp"

namespace weir::detail {

// The files watched may be held by others too, as by a forked child; but with the epoll instance
// goes what was to be told of them.
poll_set::~poll_set() {
  for (std::size_t i = 0; i < polls_.size(); ++i) ::close(poll_list::fd_of(polls_[i]));
  if (is_open()) ::close(epoll_);
}

int poll_set::open() noexcept {
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  return is_open() ? 0 : -errno;
}

int poll_set::show(int fd) const noexcept {
  epoll_event readable{.events = EPOLLIN, .data = {.ptr = nullptr}};
  return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &readable) == 0 ? 0 : -errno;
}

void poll_set::start(operation& op, operation_queue& completed) noexcept {
  const std::int32_t answer = watch(op);
  if (answer == 0) return;
  op.set_answer(answer);
  completed.push_back(op);
}

// 0 where there is something to wait for. epoll refuses a file that knows no waiting (EPERM), and
// then `perform` does not wait either.
std::int32_t poll_set::watch(operation& op) noexcept {
  const int own = ::fcntl(op.args.fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0) return -errno;
  int error = -polls_.add(op, own);
  if (error == 0) {
    epoll_event wanted{.events = op.args.flags | EPOLLONESHOT, .data = {.ptr = &op}};
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, own, &wanted) == 0) return 0;
    error = errno;
    polls_.remove(op);
  }
  ::close(own);
  return error == EPERM ? perform(op.args) : -error;
}

void poll_set::collect(operation_queue& completed) noexcept {
  if (empty()) return;
  std::array<epoll_event, 64> events;
  for (;;) {
    const int count = ::epoll_wait(epoll_, events.data(), events.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    for (const epoll_event& each : std::span(events).first(static_cast<std::size_t>(count))) {
      if (each.data.ptr == nullptr) continue;
      auto& op = *static_cast<operation*>(each.data.ptr);
      finish(op, static_cast<std::int32_t>(each.events), completed);
    }
    if (count < static_cast<int>(events.size())) return;
  }
}

// Closing alone would not end the watch: others may hold the file.
void poll_set::finish(operation& op, std::int32_t answer, operation_queue& completed) noexcept {
  const int own = poll_list::fd_of(op);
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, own, nullptr);
  ::close(own);
  polls_.remove(op);
  op.set_answer(answer);
  completed.push_back(op);
}

bool poll_set::cancel(operation& op, operation_queue& completed) noexcept {
  if (!polls_.contains(op)) return false;
  finish(op, -ECANCELED, completed);
  return true;
}

// From the last to the first: what goes leaves its place to the last.
void poll_set::cancel_named(const request& cancel, operation_queue& completed) noexcept {
  for (std::size_t i = polls_.size(); i > 0; --i) {
    if (names(cancel, polls_[i - 1])) finish(polls_[i - 1], -ECANCELED, completed);
  }
}

}  // namespace weir::detail
