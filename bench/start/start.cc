// What it takes to hand work to another thread's loop: weir's start beside Asio's post, to a
// context that runs; from one thread, from several, one at a time, and while it sleeps.

#include <atomic>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include "support/program.hpp"
#include "weir/callback.hpp"
#include "weir/io_thread.hpp"

namespace {

constexpr int burst = 1'000;

/// An Asio context and the thread that runs it.
class asio_thread {
 public:
  asio_thread() : guard_(asio::make_work_guard(context_)), thread_([this] { context_.run(); }) {}
  asio_thread(const asio_thread&) = delete;
  asio_thread& operator=(const asio_thread&) = delete;
  ~asio_thread() {
    guard_.reset();
    thread_.join();
  }
  asio::io_context& context() { return context_; }

 private:
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> guard_;
  std::thread thread_;
};

/// Counts what has run, and lets one thread wait for a number.
class counter {
 public:
  void count() noexcept {
    if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == wanted_) done_.notify_one();
  }
  void expect(int wanted) noexcept {
    done_.store(0, std::memory_order_relaxed);
    wanted_ = wanted;
  }
  void wait() noexcept {
    for (int now = done_.load(std::memory_order_acquire); now != wanted_;
         now = done_.load(std::memory_order_acquire)) {
      done_.wait(now, std::memory_order_acquire);
    }
  }

 private:
  std::atomic<int> done_ = 0;
  int wanted_ = 0;
};

struct counted_nop : weir::operation {
  explicit counted_nop(counter& into) noexcept
      : operation(
            {}, [](weir::operation& op) noexcept { static_cast<counted_nop&>(op).counts.count(); }),
        counts(into) {}
  counter& counts;
};

void from_threads(unsigned threads, auto&& start_one) {
  if (threads == 1) {
    for (int i = 0; i < burst; ++i) start_one(i);
    return;
  }
  std::vector<std::jthread> starters;
  const int share = burst / static_cast<int>(threads);
  for (unsigned number = 0; number < threads; ++number) {
    starters.emplace_back([&, number] {
      const int first = static_cast<int>(number) * share;
      for (int i = 0; i < share; ++i) start_one(first + i);
    });
  }
}

void compare_bursts(weir::bench::program& run, const char* title, unsigned threads,
                    weir::io_thread& ours, asio_thread& peer) {
  constexpr int repeats = 40;
  counter counts;
  std::deque<counted_nop> operations;
  for (int i = 0; i < burst; ++i) operations.emplace_back(counts);
  const auto weir_operations = [&] {
    for (int round = 0; round < repeats; ++round) {
      counts.expect(burst);
      from_threads(threads,
                   [&](int i) { ours.context().start(operations[static_cast<std::size_t>(i)]); });
      counts.wait();
    }
  };
  const auto weir_callbacks = [&] {
    for (int round = 0; round < repeats; ++round) {
      counts.expect(burst);
      from_threads(threads, [&](int) {
        weir::start(ours.context().schedule(), [&](weir::result<void>) { counts.count(); });
      });
      counts.wait();
    }
  };
  const auto asio_posts = [&] {
    for (int round = 0; round < repeats; ++round) {
      counts.expect(burst);
      from_threads(threads, [&](int) { asio::post(peer.context(), [&] { counts.count(); }); });
      counts.wait();
    }
  };
  using namespace weir::bench;
  const conditions under{.regime = title, .operations = burst * repeats};
  const contestant peer_posts = of_one_size("Asio, post", timed_by::wall, asio_posts);
  run.compare(under, of_one_size("weir, embedded operation", timed_by::wall, weir_operations),
              peer_posts);
  run.compare(under, of_one_size("weir, start(sender, callback)", timed_by::wall, weir_callbacks),
              peer_posts);
  run.compare(under, of_one_size("Asio itself: noise", timed_by::wall, asio_posts), peer_posts);
}

void compare_single(weir::bench::program& run, weir::io_thread& ours, asio_thread& peer) {
  constexpr int repeats = 2'000;
  counter counts;
  counted_nop operation(counts);
  const auto weir_one = [&] {
    for (int round = 0; round < repeats; ++round) {
      counts.expect(1);
      ours.context().start(operation);
      counts.wait();
    }
  };
  const auto asio_one = [&] {
    for (int round = 0; round < repeats; ++round) {
      counts.expect(1);
      asio::post(peer.context(), [&] { counts.count(); });
      counts.wait();
    }
  };
  using namespace weir::bench;
  const conditions under{.regime = "one at a time, there and back", .operations = repeats};
  const contestant peer_posts = of_one_size("Asio, post", timed_by::wall, asio_one);
  run.compare(under, of_one_size("weir, embedded operation", timed_by::wall, weir_one), peer_posts);
  run.compare(under, of_one_size("Asio itself: noise", timed_by::wall, asio_one), peer_posts);
}

int body(int argc, char** argv) {
  weir::bench::program run(argc, argv, "start",
                           "What does it take to hand work to another thread's loop?");
  weir::io_thread ours;
  asio_thread peer;
  compare_bursts(run, "bursts of 1000 from 1 thread", 1, ours, peer);
  compare_bursts(run, "bursts of 1000 from 4 threads", 4, ours, peer);
  compare_single(run, ours, peer);
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return weir::bench::run_main(argc, argv, &body); }
