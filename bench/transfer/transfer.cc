// What moving files to sockets and pipes costs, beside the calls that a program makes by itself
// when it may wait: a large file from the page cache, many small ones, and what a transfer takes
// that waits. The receiver is a process of its own, on another core where there is one.

#include "weir/transfer.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "support/fail.hpp"
#include "support/machine.hpp"
#include "support/program.hpp"
#include "support/scratch_file.hpp"
#include "support/units.hpp"
#include "transfer/receiver.hpp"
#include "weir/weir.hpp"

namespace {

using namespace weir::bench;

weir::transfer_outcome valid(weir::transfer_outcome came) {
  if (came.error) throw std::system_error(came.error, "a transfer");
  return came;
}

template <class T>
T valid(weir::result<T> outcome, const char* call) {
  if (!outcome) throw std::system_error(outcome.error(), call);
  return *std::move(outcome);
}

/// One way of sending, over a connection of its own.
struct way {
  std::string name;
  link_kind kind = link_kind::tcp;
  bool nonblocking = false;
  std::function<void(int to)> send;
};

// --- one large file ------------------------------------------------------------------------------

/// Rate, and the processor time at both ends, of the same pairs.
void compare(program& run, const std::string& regime, std::uint64_t bytes, const way& ours,
             const way& peer) {
  struct recorded {
    explicit recorded(const way& what) : link(what.kind), by(what) {
      if (what.nonblocking) link.set_nonblocking();
    }
    receiver link;
    const way& by;
    std::vector<receiver::outcome> slices;
  };
  recorded our_slices(ours);
  recorded peer_slices(peer);
  for (recorded* each : {&our_slices, &peer_slices}) each->link.carry(bytes, each->by.send);
  const auto measuring = [bytes](recorded& who) {
    return [bytes, &who] {
      who.slices.push_back(who.link.carry(bytes, who.by.send));
      return static_cast<double>(bytes) * 1e-6 / who.slices.back().seconds;
    };
  };
  const conditions rate{.regime = regime, .shown = megabytes(1), .pairs = 11};
  run.record(rate, ours.name, peer.name,
             compare_values(measuring(our_slices), measuring(peer_slices), run.pairs(rate)));
  const auto replay = [bytes](const recorded& who, double receiver::outcome::* what) {
    return [bytes, what, next = who.slices.begin()]() mutable {
      return *next++.*what * (1024 * static_cast<double>(mib)) / static_cast<double>(bytes);
    };
  };
  for (const auto& [what, end] :
       {std::pair{&receiver::outcome::sender_seconds, "the sender's"},
        std::pair{&receiver::outcome::receiver_seconds, "the receiver's"}}) {
    const conditions under{.regime = regime + ", " + end + " processor time",
                           .shown = {.unit = "s a GiB"},
                           .pairs = 11};
    run.record(
        under, ours.name, peer.name,
        compare_values(replay(our_slices, what), replay(peer_slices, what), run.pairs(rate)));
  }
}

/// Asks for all that is left, as a program does that may wait.
void send_by_loop(int from, std::uint64_t size, int to) {
  off_t at = 0;
  while (static_cast<std::uint64_t>(at) < size) {
    const ssize_t moved = ::sendfile(to, from, &at, size - static_cast<std::uint64_t>(at));
    if (moved <= 0) fail("sendfile");
  }
}

void splice_by_loop(int from, std::uint64_t size, int to) {
  off64_t at = 0;
  while (static_cast<std::uint64_t>(at) < size) {
    const auto left = size - static_cast<std::uint64_t>(at);
    if (::splice(from, &at, to, nullptr, left, 0) <= 0) fail("splice");
  }
}

void compare_large(program& run, weir::io_context& context) {
  const scratch_file scratch(run.unless_quick(1024 * mib, 16 * mib));
  const std::uint64_t size = scratch.size();
  weir::file file =
      valid(context.run([](weir::io_context& on,
                           const scratch_file& of) -> weir::task<weir::result<weir::file>> {
        co_return co_await weir::open(on, of.path());
      }(context, scratch)),
            "open");
  const auto send = [&](int to) { valid(context.run(weir::send_file(file, to, 0, size))); };
  const auto loop = [&](int to) { send_by_loop(scratch.buffered(), size, to); };
  const auto splice = [&](int to) { splice_by_loop(scratch.buffered(), size, to); };
  const std::string cached = size_name(size) + " from the page cache, ";
  const std::string peer = "a loop of sendfile(2)";

  for (const auto& [kind, name] : {std::pair{link_kind::tcp, "loopback TCP"},
                                   std::pair{link_kind::unix_stream, "a UNIX socket"}}) {
    const std::string regime = cached + name;
    const way peers{.name = peer, .kind = kind, .send = loop};
    compare(run, regime, size,
            {.name = "send_file to one that does not block",
             .kind = kind,
             .nonblocking = true,
             .send = send},
            peers);
    compare(run, regime, size, {.name = "send_file to one that blocks", .kind = kind, .send = send},
            peers);
    compare(run, regime, size, {.name = peer + " again: noise", .kind = kind, .send = loop}, peers);
  }

  compare(run, cached + "a pipe of 1 MiB", size,
          {.name = "send_file", .kind = link_kind::pipe, .send = send},
          {.name = "a loop of splice(2)", .kind = link_kind::pipe, .send = splice});
}

// --- many small files ----------------------------------------------------------------------------

/// A directory of files of a page each, removed with all it holds.
class small_files {
 public:
  explicit small_files(std::size_t count) : directory_(scratch_directory() + "/weir-bench-XXXXXX") {
    if (::mkdtemp(directory_.data()) == nullptr) fail(directory_);
    const std::array<char, size> bytes{};
    for (std::size_t number = 0; number < count; ++number) {
      paths_.push_back(directory_ + "/" + std::to_string(number));
      const int fd = checked("open", ::open(paths_.back().c_str(), O_WRONLY | O_CREAT, 0600));
      expect_whole("write", ::write(fd, bytes.data(), size), size);
      ::close(fd);
    }
  }
  small_files(const small_files&) = delete;
  small_files& operator=(const small_files&) = delete;
  ~small_files() {
    std::error_code ignored;  // nothing depends on it
    std::filesystem::remove_all(directory_, ignored);
  }

  static constexpr std::size_t size = 4 * kib;
  const std::vector<std::string>& paths() const noexcept { return paths_; }

 private:
  std::string directory_;
  std::vector<std::string> paths_;
};

void send_each_by_loop(const small_files& files, int to) {
  for (const std::string& path : files.paths()) {
    const int fd = checked("open", ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    send_by_loop(fd, small_files::size, to);
    ::close(fd);
  }
}

weir::task<void> send_each(weir::io_context& context, const small_files& files, int to) {
  for (const std::string& path : files.paths()) {
    weir::file file = valid(co_await weir::open(context, path), "open");
    valid(co_await weir::send_file(file, to, 0, small_files::size));
  }
}

/// Opened as many at a time as are sent together.
weir::task<void> send_together(weir::io_context& context, const small_files& files, int to) {
  constexpr std::size_t ahead = 128;
  const std::vector<std::string>& paths = files.paths();
  for (std::size_t first = 0; first < paths.size(); first += ahead) {
    std::vector<weir::open_sender> opening;
    for (std::size_t i = first; i < std::min(first + ahead, paths.size()); ++i) {
      opening.push_back(weir::open(context, paths[i]));
    }
    auto opened = co_await weir::when_all(std::move(opening));
    std::vector<weir::file> open;
    std::vector<weir::file_part> parts;
    open.reserve(opened.size());
    for (weir::result<weir::file>& each : opened) {
      open.push_back(valid(std::move(each), "open"));
      parts.push_back({.from = &open.back(), .length = small_files::size});
    }
    valid(co_await weir::send_files(parts, to));
  }
}

/// What a program does that opens its files itself.
weir::task<void> send_adopted_together(weir::io_context& context, const small_files& files,
                                       int to) {
  constexpr std::size_t ahead = 128;
  const std::vector<std::string>& paths = files.paths();
  for (std::size_t first = 0; first < paths.size(); first += ahead) {
    std::vector<weir::file> open;
    std::vector<weir::file_part> parts;
    open.reserve(ahead);
    for (std::size_t i = first; i < std::min(first + ahead, paths.size()); ++i) {
      const int fd = checked("open", ::open(paths[i].c_str(), O_RDONLY | O_CLOEXEC));
      open.emplace_back(context, fd);
      parts.push_back({.from = &open.back(), .length = small_files::size});
    }
    valid(co_await weir::send_files(parts, to));
  }
}

void compare_small(program& run, weir::io_context& context) {
  const small_files files(run.unless_quick<std::size_t>(10'000, 500));
  const std::uint64_t bytes = files.paths().size() * small_files::size;
  for (const auto& [kind, name] : {std::pair{link_kind::tcp, "loopback TCP"},
                                   std::pair{link_kind::unix_stream, "a UNIX socket"}}) {
    const std::string regime = std::to_string(files.paths().size()) + " files of 4 KiB, " + name;
    const auto driving = [&](auto work) {
      return [&context, &files, work](int to) { context.run(work(context, files, to)); };
    };
    const way loop{.name = "open, sendfile(2), close", .kind = kind, .send = [&](int to) {
                     send_each_by_loop(files, to);
                   }};
    compare(run, regime, bytes,
            {.name = "open, send_file, close", .kind = kind, .send = driving(send_each)}, loop);
    compare(run, regime, bytes,
            {.name = "128 opened, then send_files, then closed",
             .kind = kind,
             .send = driving(send_together)},
            loop);
    compare(run, regime, bytes,
            {.name = "the same, opened by open(2)",
             .kind = kind,
             .send = driving(send_adopted_together)},
            loop);
  }
}

// --- transfers that wait -------------------------------------------------------------------------

/// To one socket that nobody reads from, so that the program's memory is all that there is.
void measure_waiting(program& run, weir::io_context& context) {
  const auto many = run.unless_quick<std::size_t>(10'000, 500);
  const scratch_file scratch(mib);
  std::array<int, 2> ends{};
  checked("socketpair", ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()));
  weir::file file(context, checked("dup", ::fcntl(scratch.buffered(), F_DUPFD_CLOEXEC, 0)));
  std::stop_source stop;
  std::size_t ended = 0;
  const auto start_one = [&] {
    spawn(context,
          [](weir::task<weir::transfer_outcome> work, std::size_t& count) -> weir::task<void> {
            co_await std::move(work);
            ++count;
          }(weir::send_file(file, ends[0]), ended));
  };
  constexpr std::size_t first = 64;  // who take what is needed once for all
  for (std::size_t i = 0; i < first; ++i) start_one();
  for (int turn = 0; turn < 100; ++turn) context.dispatch(false);
  const std::size_t before = ::mallinfo2().uordblks;
  for (std::size_t i = 0; i < many; ++i) start_one();
  while (context.outstanding() < many) context.dispatch(false);
  for (int turn = 0; turn < 1000; ++turn) context.dispatch(false);
  const std::size_t each = (::mallinfo2().uordblks - before) / many;
  run.remark("A transfer that waits for its receiver takes " + std::to_string(each) +
             " bytes of memory.");
  ::close(ends[1]);
  while (ended != first + many) context.dispatch(true);
  ::close(ends[0]);
}

int body(int argc, char** argv) {
  program run(argc, argv, "transfer", "What do transfers cost beside sendfile(2)?");
  stay_on_one_core();
  weir::io_context context(valid(weir::open_driver(), "open_driver"));
  compare_large(run, context);
  compare_small(run, context);
  measure_waiting(run, context);
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
