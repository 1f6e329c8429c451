#include "weir/daemon.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <expected>
#include <span>
#include <string>
#include <utility>

#include "clock.hpp"
#include "daemon/client/client_socket.hpp"
#include "daemon/client/remote_operations.hpp"
#include "daemon/message_socket.hpp"
#include "drivers/drivers.hpp"
#include "drivers/event_fd.hpp"
#include "uninterrupted.hpp"

namespace weir::detail {
namespace {

using namespace daemon;

constexpr std::size_t memory_size = std::size_t{16} << 20;
constexpr std::int64_t patience_ns = 10'000'000'000;

/// Operations that a daemon carries out (`weir serve`), for a client that may have no right to, or
/// no wish for, a ring of its own: what moves bytes to and from files on disks. Everything else
/// (paths, pipes, sockets, waiting, what is odd) is the threads driver's, in this process.
///
/// Where the daemon goes away, what it had not answered completes with `errc::daemon_lost`; the
/// next operation looks for another under the same name.
class daemon_driver final : public driver {
 public:
  daemon_driver(std::string name, const driver_limits& limits, std::unique_ptr<driver> here)
      : name_(std::move(name)),
        queue_depth_(limits.queue_depth),
        remote_most_(std::min<std::size_t>(limits.queue_depth, client_queue_depth_max)),
        here_(std::move(here)) {}

  daemon_driver(const daemon_driver&) = delete;
  daemon_driver& operator=(const daemon_driver&) = delete;
  ~daemon_driver() override;

  std::expected<void, refusal> open() noexcept;

  void submit(operation_queue& staged) noexcept override;
  void reap(operation_queue& completed, deadline until) noexcept override;
  void wake() noexcept override {
    woken_.store(true, std::memory_order_release);
    here_->wake();
  }
  int fd() const noexcept override { return epoll_; }

 private:
  bool connected() const noexcept { return connection_ >= 0; }
  int connect() noexcept;
  int attach() noexcept;
  std::expected<void, refusal> await_attached() noexcept;
  void lose() noexcept;
  bool watch_for(std::uint32_t events) noexcept;

  bool begin_there(operation& op) noexcept;
  void cancel(operation& request) noexcept;
  void hand_over_here() noexcept;
  void send_all() noexcept;
  bool send_some() noexcept;
  void receive_all() noexcept;
  std::expected<std::span<const std::byte>, int> receive() noexcept;
  bool take(std::span<const std::byte> came) noexcept;
  void take_finished(operation_queue& completed) noexcept;
  void take_from_here(operation_queue& completed) noexcept;
  void give_back(operation& op, operation_queue& completed) noexcept;
  void set_clock() noexcept;

  const std::string name_;
  const std::size_t queue_depth_;
  const std::size_t remote_most_;
  std::size_t in_flight_ = 0;  // here and there; of those that take room
  int epoll_ = -1;             // shows both
  int connection_ = -1;
  std::uint32_t watched_ = 0;  // events of the connection
  std::int64_t now_ns_ = 0;    // as of this turn
  bool clock_set_ = false;     // `sweep_` is in flight
  std::atomic<bool> woken_ = false;
  shared_memory memory_;
  shared_files files_;
  std::unique_ptr<remote_operations> there_;
  // Not initialized: only what came is looked at.
  std::array<std::byte, frame_max> came_;
  operation_queue to_here_;   // of this turn
  operation_queue answered_;  // could not even be sent
  operation sweep_{{.op = opcode::timeout}, [](operation&) noexcept {}};
  std::unique_ptr<driver> here_;  // last: it lets go of `sweep_`
};

// What the daemon does for a client that has gone touches nothing but the shared memory.
daemon_driver::~daemon_driver() {
  if (connected()) ::close(connection_);
  if (epoll_ >= 0) ::close(epoll_);
}

// --- the connection ------------------------------------------------------------------------------

std::expected<void, refusal> daemon_driver::open() noexcept {
  if (const int error = memory_.open(memory_size); error < 0) {
    return std::unexpected(refusal{"memfd_create", -error});
  }
  there_ = std::make_unique<remote_operations>(remote_most_, memory_, files_);
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return std::unexpected(refusal{"epoll_create1", errno});
  epoll_event readable{.events = EPOLLIN, .data = {.fd = here_->fd()}};
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, here_->fd(), &readable) != 0) {
    return std::unexpected(refusal{"epoll_ctl", errno});
  }
  if (const int error = connect(); error < 0) return std::unexpected(refusal{"connect", -error});
  return await_attached();
}

int daemon_driver::connect() noexcept {
  connection_ = connect_to_daemon(name_, SOCK_NONBLOCK);
  if (!connected()) return connection_;
  watched_ = 0;
  const int error = watch_for(EPOLLIN) ? attach() : -errno;
  if (error < 0) ::close(std::exchange(connection_, -1));
  return error;
}

int daemon_driver::attach() noexcept {
  const attach_request wanted{.header = {.kind = message::attach, .size = sizeof wanted},
                              .memory_size = memory_.size(),
                              .queue_depth = static_cast<std::uint32_t>(remote_most_)};
  const int memory = memory_.fd();
  return send_message(connection_, std::as_bytes(std::span(&wanted, 1)), {&memory, 1});
}

// The one wait for the daemon: who cannot attach has opened no driver. A daemon that does not
// answer within seconds is none.
std::expected<void, refusal> daemon_driver::await_attached() noexcept {
  wait_readable(connection_, deadline{monotonic_now_ns() + patience_ns});
  const auto came = receive();
  if (!came) return std::unexpected(refusal{"the daemon's answer", came.error()});
  if (came->size() != sizeof(answer)) {
    return std::unexpected(refusal{"the daemon's answer", ECONNRESET});
  }
  const auto said = read_as<answer>(*came);
  if (!is_sound(said)) return std::unexpected(refusal{"attach", EPROTO});
  if (said.status != 0) return std::unexpected(refusal{"attach", -said.status});
  if (said.kind != message::attached) return std::unexpected(refusal{"attach", EPROTO});
  return {};
}

bool daemon_driver::watch_for(std::uint32_t events) noexcept {
  if (events == watched_) return true;
  epoll_event wanted{.events = events, .data = {.fd = connection_}};
  const int how = watched_ == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (::epoll_ctl(epoll_, how, connection_, &wanted) != 0) return false;
  watched_ = events;
  return true;
}

// A child may hold the connection, too: closing it would not end the watch.
void daemon_driver::lose() noexcept {
  if (!connected()) return;
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, connection_, nullptr);
  ::close(std::exchange(connection_, -1));
  there_->lose_all(answer_of(errc::daemon_lost));
  files_.forget_all();
}

// --- handing over --------------------------------------------------------------------------------

void daemon_driver::submit(operation_queue& staged) noexcept {
  files_.begin_turn();
  now_ns_ = monotonic_now_ns();
  while (!staged.empty()) {
    operation& op = staged.front();
    if (takes_room(op.args.op) && in_flight_ >= queue_depth_) break;
    staged.pop_front();
    if (takes_room(op.args.op)) ++in_flight_;
    if (op.args.op == opcode::cancel) {
      cancel(op);
    } else if (!begin_there(op)) {
      if (op.args.op == opcode::close) files_.closing(op.args.fd);
      to_here_.push_back(op);
    }
  }
  hand_over_here();
  send_all();
}

// True where it is not for this process to do: it is the daemon's, or there is none.
bool daemon_driver::begin_there(operation& op) noexcept {
  if (there_->full()) return false;
  const auto by = there_->route_of(op.args, now_ns_);
  if (!by) return false;
  if (!connected() && connect() < 0) {
    files_.release(by->file.slot);
    if (by->second_slot >= 0) files_.release(by->second_slot);
    op.set_answer(answer_of(errc::daemon_lost));
    answered_.push_back(op);
    return true;
  }
  there_->begin(op, *by);
  return true;
}

void daemon_driver::cancel(operation& request) noexcept {
  hand_over_here();  // its target may be among these
  if (request.args.address == nullptr) {
    there_->cancel_named(request);
    to_here_.push_back(request);
    return;
  }
  auto& target = *static_cast<operation*>(request.args.address);
  const auto answer = there_->cancel(request, target);
  if (answer == -ENOENT) {
    to_here_.push_back(request);
  } else if (answer) {
    request.set_answer(*answer);
    answered_.push_back(request);
  }
}

// It has room for as many as this driver takes.
void daemon_driver::hand_over_here() noexcept {
  if (!to_here_.empty()) here_->submit(to_here_);
}

void daemon_driver::send_all() noexcept {
  while (connected() && (!there_->to_send().empty() || files_.has_news())) {
    if (!send_some()) return;
  }
  if (connected() && watched_ != EPOLLIN && !watch_for(EPOLLIN)) lose();
}

bool daemon_driver::send_some() noexcept {
  std::array<std::byte, frame_max> bytes;
  auto& operations = there_->to_send();
  const shared_files::news news = files_.has_news() ? files_.to_tell() : shared_files::news{};
  const std::size_t numbers = (news.slots.size() + 1) / 2 * 2 * sizeof(std::uint32_t);
  const std::size_t room =
      (bytes.size() - sizeof(batch_request) - numbers) / sizeof(wire_operation);
  // What is news may concern any of the operations: all of it goes first.
  const bool all_told = news.descriptors.size() < descriptors_max;
  const std::size_t count = all_told ? std::min(room, operations.size()) : 0;
  const std::size_t size = sizeof(batch_request) + numbers + count * sizeof(wire_operation);
  const batch_request head{
      .header = {.kind = message::submit, .size = static_cast<std::uint32_t>(size)},
      .slot_count = static_cast<std::uint16_t>(news.slots.size()),
      .forget_count = static_cast<std::uint16_t>(news.slots.size() - news.descriptors.size()),
      .operation_count = static_cast<std::uint32_t>(count)};
  const auto put = [&bytes](const auto& what, std::size_t at) {
    std::ranges::copy(std::as_bytes(std::span(what)), std::span(bytes).subspan(at).begin());
  };
  constexpr std::uint32_t padding = 0;  // after an odd number of slots
  put(std::span(&head, 1), 0);
  put(news.slots, sizeof head);
  if (news.slots.size() % 2 != 0) {
    put(std::span(&padding, 1), sizeof head + numbers - sizeof padding);
  }
  put(std::span(operations).first(count), sizeof head + numbers);
  const int error = send_message(connection_, std::span(bytes).first(size), news.descriptors);
  if (error == 0) {
    files_.told(news);
    operations.erase(operations.begin(), operations.begin() + static_cast<std::ptrdiff_t>(count));
    return true;
  }
  // ETOOMANYREFS: more descriptors are on their way than one may have there.
  const bool full = error == -EAGAIN || error == -ETOOMANYREFS;
  if (!full || !watch_for(EPOLLIN | EPOLLOUT)) lose();
  return false;
}

// --- taking back ---------------------------------------------------------------------------------

void daemon_driver::reap(operation_queue& completed, deadline until) noexcept {
  for (bool waited = false;; waited = true) {
    if (waited || there_->in_flight() != 0) receive_all();
    take_finished(completed);
    take_from_here(completed);
    send_all();  // the next pieces, and what there was no room for
    set_clock();
    const bool woken = woken_.exchange(false, std::memory_order_acquire);
    if (!completed.empty() || woken || until == deadline::now()) return;
    if (waited && until.monotonic_ns <= monotonic_now_ns()) return;
    wait_readable(epoll_, until);
  }
}

void daemon_driver::receive_all() noexcept {
  while (connected()) {
    const auto came = receive();
    if (!came && came.error() == EAGAIN) return;
    if (!came || came->empty() || !take(*came)) return lose();
    if (there_->in_flight() == 0) return;
  }
}

// The next message, without waiting; empty at the end. The daemon passes no descriptors.
std::expected<std::span<const std::byte>, int> daemon_driver::receive() noexcept {
  const ssize_t count =
      uninterrupted([&] { return ::recv(connection_, came_.data(), came_.size(), MSG_DONTWAIT); });
  if (count < 0) return std::unexpected(static_cast<int>(-count));
  return std::span(came_).first(static_cast<std::size_t>(count));
}

// False for what no daemon says: then there is none.
bool daemon_driver::take(std::span<const std::byte> came) noexcept {
  if (came.size() == sizeof(answer) && read_as<answer>(came).kind == message::attached) {
    return read_as<answer>(came).status == 0;
  }
  return there_->take_answers(came);
}

void daemon_driver::take_finished(operation_queue& completed) noexcept {
  to_here_.append(std::move(there_->returned()));
  hand_over_here();
  operation_queue finished = std::move(there_->finished());
  finished.append(std::move(answered_));
  while (!finished.empty()) give_back(finished.pop_front(), completed);
}

void daemon_driver::take_from_here(operation_queue& completed) noexcept {
  operation_queue came;
  here_->reap(came, deadline::now());
  while (!came.empty()) {
    operation& op = came.pop_front();
    if (&op == &sweep_) {
      clock_set_ = false;
      files_.forget_idle(monotonic_now_ns());
    } else if (op.args.op == opcode::cancel && op.args.address == nullptr) {
      there_->others_told(op);
    } else {
      give_back(op, completed);
    }
  }
  completed.append(std::move(there_->finished()));  // cancel requests
}

void daemon_driver::give_back(operation& op, operation_queue& completed) noexcept {
  if (takes_room(op.args.op)) --in_flight_;
  completed.push_back(op);
}

// Nobody tells when a file is closed by its number. So that its disk space is not held for long.
void daemon_driver::set_clock() noexcept {
  if (clock_set_ || files_.empty()) return;
  clock_set_ = true;
  const auto due = monotonic_now_ns() + shared_files::idle_max_ns;
  sweep_.args.offset = static_cast<std::uint64_t>(due);
  operation_queue alone;
  alone.push_back(sweep_);
  here_->submit(alone);
}

}  // namespace

opened_driver open_daemon(std::string name, const driver_limits& limits) {
  auto here = open_threads(limits);
  if (!here) return here;
  auto made = std::make_unique<daemon_driver>(std::move(name), limits, std::move(*here));
  if (auto opened = made->open(); !opened) return std::unexpected(opened.error());
  return made;
}

}  // namespace weir::detail
