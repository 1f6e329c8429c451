// How weir's threads compare with those of libuv, and with a pool of a mutex and a condition
// variable, all of the same size: no-ops, which show what handing over costs, 4 KiB reads from the
// page cache, and reads past it, on two processors and on one. The file is on the disk of $TMPDIR,
// else /var/tmp.

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "support/fail.hpp"
#include "support/program.hpp"
#include "support/scratch_file.hpp"
#include "support/units.hpp"
#include "threads/plain_pool.hpp"
#include "weir/buffer.hpp"
#include "weir/driver.hpp"
#include "weir/io_context.hpp"

#if WEIR_BENCH_LIBUV
#include <uv.h>
#endif

namespace {

using namespace weir::bench;

constexpr std::size_t block = 4096;

/// What all do: `count` times the same, `depth` of them outstanding.
struct pool_work {
  const char* name;
  std::size_t depth;
  std::size_t count;
  int fd;              ///< negative: no-ops
  std::size_t blocks;  ///< of the file, that are read in random order
};

/// One piece of work for whichever pool.
struct job {
  std::byte* memory = nullptr;
  std::uint64_t offset = 0;
};

/// Hands out the work of a slice.
class work_list {
 public:
  explicit work_list(const pool_work& what)
      : what_(what), memory_(what.depth * block), jobs_(what.depth) {
    for (std::size_t i = 0; i < jobs_.size(); ++i) jobs_[i].memory = memory_.data() + i * block;
  }

  const pool_work& what() const noexcept { return what_; }
  std::vector<job>& jobs() noexcept { return jobs_; }

  void begin() noexcept { left_ = what_.count; }
  /// False when the slice's work has been handed out.
  bool next(job& into) noexcept {
    if (left_ == 0) return false;
    --left_;
    into.offset = random_() % what_.blocks * block;
    return true;
  }

  void check(std::int64_t answer) const {
    const std::int64_t expected = what_.fd < 0 ? 0 : static_cast<std::int64_t>(block);
    if (answer != expected) fail("an operation", answer < 0 ? static_cast<int>(-answer) : EIO);
  }

 private:
  const pool_work what_;
  weir::buffer memory_;
  std::vector<job> jobs_;
  std::minstd_rand random_;
  std::size_t left_ = 0;
};

// --- the contestants -----------------------------------------------------------------------------

class weir_threads {
 public:
  weir_threads(unsigned threads, const pool_work& what)
      : list_(what),
        context_(
            weir::open_driver({.name = "threads", .queue_depth = 64, .threads = threads}).value()) {
    for (job& each : list_.jobs()) operations_.emplace_back(*this, each);
  }

  void operator()() {
    list_.begin();
    for (job_operation& each : operations_) start(each);
    context_.run();
  }

 private:
  struct job_operation : weir::operation {
    job_operation(weir_threads& owner, job& what)
        : operation({}, &completed), self(owner), does(what) {}
    static void completed(weir::operation& op) noexcept {
      auto& done = static_cast<job_operation&>(op);
      done.self.list_.check(op.answer());
      done.self.start(done);
    }
    weir_threads& self;
    job& does;
  };

  void start(job_operation& op) {
    if (!list_.next(op.does)) return;
    if (list_.what().fd >= 0) {
      op.args = {.op = weir::opcode::read,
                 .fd = list_.what().fd,
                 .address = op.does.memory,
                 .offset = op.does.offset,
                 .length = block};
    }
    context_.start(op);
  }

  work_list list_;
  weir::io_context context_;
  std::deque<job_operation> operations_;
};

#if WEIR_BENCH_LIBUV

/// libuv's pool has the size that UV_THREADPOOL_SIZE had when it was first used.
class uv_pool {
 public:
  explicit uv_pool(const pool_work& what) : list_(what) {
    ::uv_loop_init(&loop_);
    for (job& each : list_.jobs()) requests_.emplace_back(*this, each);
  }
  uv_pool(const uv_pool&) = delete;
  uv_pool& operator=(const uv_pool&) = delete;
  ~uv_pool() { ::uv_loop_close(&loop_); }

  void operator()() {
    list_.begin();
    for (request& each : requests_) start(each);
    ::uv_run(&loop_, UV_RUN_DEFAULT);
  }

 private:
  struct request {
    request(uv_pool& owner, job& what) : self(owner), does(what) {
      work.data = this;
      read.data = this;
    }
    uv_work_t work{};
    uv_fs_t read{};
    uv_pool& self;
    job& does;
  };

  void start(request& each) {
    if (!list_.next(each.does)) return;
    if (list_.what().fd < 0) {
      ::uv_queue_work(
          &loop_, &each.work, [](uv_work_t*) {},
          [](uv_work_t* work, int) { finished(*static_cast<request*>(work->data), 0); });
      return;
    }
    const uv_buf_t into = ::uv_buf_init(reinterpret_cast<char*>(each.does.memory), block);
    ::uv_fs_read(&loop_, &each.read, list_.what().fd, &into, 1,
                 static_cast<std::int64_t>(each.does.offset), [](uv_fs_t* read) {
                   const auto answer = read->result;
                   ::uv_fs_req_cleanup(read);
                   finished(*static_cast<request*>(read->data), answer);
                 });
  }

  static void finished(request& each, std::int64_t answer) {
    each.self.list_.check(answer);
    each.self.start(each);
  }

  work_list list_;
  uv_loop_t loop_{};
  std::deque<request> requests_;
};

contestant libuv_of(unsigned threads, timed_by by, const pool_work& what) {
  return in_child("libuv", by, [threads, what]() -> std::function<void(std::uint64_t)> {
    ::setenv("UV_THREADPOOL_SIZE", std::to_string(threads).c_str(), 1);
    return [pool = std::make_shared<uv_pool>(what)](std::uint64_t) { (*pool)(); };
  });
}

#else

contestant libuv_of(unsigned, timed_by, const pool_work&) {
  return absent("libuv", "libuv1-dev was not there when this was built.");
}

#endif

class plain {
 public:
  plain(unsigned threads, const pool_work& what)
      : list_(what), pool_(threads, [fd = what.fd](asked& each) {
          if (fd < 0) return;
          each.answer =
              ::pread(fd, each.does->memory, block, static_cast<off_t>(each.does->offset));
          if (each.answer < 0) each.answer = -errno;
        }) {
    for (job& each : list_.jobs()) all_.push_back({.does = &each});
  }

  void operator()() {
    list_.begin();
    std::size_t outstanding = 0;
    for (asked& each : all_) outstanding += start(each);
    while (outstanding > 0) {
      for (asked* each : pool_.collect()) {
        list_.check(each->answer);
        --outstanding;
        outstanding += start(*each);
      }
    }
  }

 private:
  struct asked {
    job* does = nullptr;
    std::int64_t answer = 0;
  };

  std::size_t start(asked& each) {
    if (!list_.next(*each.does)) return 0;
    pool_.submit(each);
    return 1;
  }

  work_list list_;
  std::vector<asked> all_;
  weir::bench::plain_pool<asked> pool_;
};

// --- comparing -----------------------------------------------------------------------------------

void compare_at(program& run, unsigned threads, int processors, const pool_work& what) {
  weir_threads ours(threads, what);
  plain simple(threads, what);
  const std::string regime = std::string(what.name) + ", " + std::to_string(what.depth) +
                             " outstanding, " + std::to_string(threads) + " threads, " +
                             (processors == 1 ? "1 processor" : "2 processors");
  const auto compare = [&](timed_by clock, const std::string& in) {
    const conditions under{.regime = regime + in, .operations = what.count};
    const contestant by_weir = of_one_size("weir threads", clock, [&] { ours(); });
    run.compare(under, by_weir, libuv_of(threads, clock, what));
    run.compare(under, by_weir,
                of_one_size("mutex and condition variable", clock, [&] { simple(); }));
  };
  compare(timed_by::wall, "");
  compare(timed_by::process, ", processor time");
}

void use_processors(int count) {
  static const cpu_set_t available = [] {
    cpu_set_t all;
    checked("sched_getaffinity", ::sched_getaffinity(0, sizeof all, &all));
    return all;
  }();
  cpu_set_t wanted;
  CPU_ZERO(&wanted);
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE && count > 0; ++cpu) {
    if (!CPU_ISSET(cpu, &available)) continue;
    CPU_SET(cpu, &wanted);
    --count;
  }
  checked("sched_setaffinity", ::sched_setaffinity(0, sizeof wanted, &wanted));
}

int body(int argc, char** argv) {
  program run(argc, argv, "threads", "How do weir's threads compare with pools of the same size?");
  const scratch_file file(64 * mib);
  const std::size_t blocks = file.size() / block;
  const std::size_t unit = run.unless_quick<std::size_t>(2'000, 40);
  for (const unsigned threads : {4u, 16u}) {
    for (const int processors : {2, 1}) {
      use_processors(processors);
      const auto compare = [&](const pool_work& what) {
        compare_at(run, threads, processors, what);
      };
      compare({"no-ops", 1, unit, -1, 1});
      compare({"no-ops", 32, 10 * unit, -1, 1});
      compare({"4 KiB, page cache", 32, 10 * unit, file.buffered(), 256});
      compare({"4 KiB, O_DIRECT", 4, unit, file.direct(), blocks});
      compare({"4 KiB, O_DIRECT", 32, 2 * unit, file.direct(), blocks});
    }
  }
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
