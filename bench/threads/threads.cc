// How weir's threads compare with those of libuv, and with a pool of a mutex and a condition
// variable, all of the same size: no-ops, which show what handing over costs, 4 KiB reads from the
// page cache, and reads past it, on two processors and on one. The file is on the disk of $TMPDIR,
// else /var/tmp.
//
//   bench_threads [pairs]

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "support/pairs.hpp"
#include "threads/plain_pool.hpp"
#include "weir/buffer.hpp"
#include "weir/driver.hpp"
#include "weir/io_context.hpp"

namespace {

constexpr std::size_t block = 4096;

[[noreturn]] void fail(const char* what, int error) {
  throw std::system_error(error, std::system_category(), what);
}

/// What all do: `count` times the same, `depth` of them outstanding.
struct workload {
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
  explicit work_list(const workload& what)
      : what_(what), memory_(what.depth * block), jobs_(what.depth) {
    for (std::size_t i = 0; i < jobs_.size(); ++i) jobs_[i].memory = memory_.data() + i * block;
  }

  const workload& what() const noexcept { return what_; }
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
  const workload what_;
  weir::buffer memory_;
  std::vector<job> jobs_;
  std::minstd_rand random_;
  std::size_t left_ = 0;
};

// --- the contestants -----------------------------------------------------------------------------

class weir_threads {
 public:
  weir_threads(unsigned threads, const workload& what)
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

/// libuv's pool has the size that UV_THREADPOOL_SIZE had when it was first used.
class libuv {
 public:
  explicit libuv(const workload& what) : list_(what) {
    ::uv_loop_init(&loop_);
    for (job& each : list_.jobs()) requests_.emplace_back(*this, each);
  }
  libuv(const libuv&) = delete;
  libuv& operator=(const libuv&) = delete;
  ~libuv() { ::uv_loop_close(&loop_); }

  void operator()() {
    list_.begin();
    for (request& each : requests_) start(each);
    ::uv_run(&loop_, UV_RUN_DEFAULT);
  }

 private:
  struct request {
    request(libuv& owner, job& what) : self(owner), does(what) {
      work.data = this;
      read.data = this;
    }
    uv_work_t work{};
    uv_fs_t read{};
    libuv& self;
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

class plain {
 public:
  plain(unsigned threads, const workload& what)
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

using weir::bench::compare;
using weir::bench::print;
using weir::bench::process_clock;

/// How often threads went to sleep, for one operation: what a pool pays for most.
double sleeps_each(auto& contestant, const workload& what) {
  rusage before{};
  rusage after{};
  ::getrusage(RUSAGE_SELF, &before);
  contestant();
  ::getrusage(RUSAGE_SELF, &after);
  return static_cast<double>(after.ru_nvcsw - before.ru_nvcsw) / static_cast<double>(what.count);
}

/// On which processors a loop's thread and those of its pool run.
enum class placement : std::uint8_t { anywhere, together, apart };

cpu_set_t processors(std::size_t skipped, std::size_t count) {
  cpu_set_t available;
  ::sched_getaffinity(0, sizeof available, &available);
  cpu_set_t wanted;
  CPU_ZERO(&wanted);
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE && count > 0; ++cpu) {
    if (!CPU_ISSET(cpu, &available)) continue;
    if (skipped > 0) {
      --skipped;
      continue;
    }
    CPU_SET(cpu, &wanted);
    --count;
  }
  return wanted;
}

void run_on(pid_t thread, const cpu_set_t& wanted) {
  if (::sched_setaffinity(thread, sizeof wanted, &wanted) < 0) fail("sched_setaffinity", errno);
}

/// This thread on one processor, all others of the process on the other.
void place_apart() {
  const cpu_set_t mine = processors(0, 1);
  const cpu_set_t theirs = processors(1, 1);
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    const pid_t thread = std::stoi(task.path().filename());
    run_on(thread, thread == ::getpid() ? mine : theirs);
  }
}

void compare_at(unsigned threads, placement where, const workload& what, int pairs) {
  weir_threads ours(threads, what);
  libuv uv(what);
  libuv uv_again(what);
  plain simple(threads, what);
  uv();  // begins its threads
  if (where == placement::apart) place_apart();
  const std::string name =
      std::string(what.name) + ", " + std::to_string(what.depth) + " outstanding: ";
  const auto count = static_cast<double>(what.count);
  print(name + "weir / libuv", compare(ours, uv, pairs), count);
  print("  in processor time", compare<process_clock>(ours, uv, pairs), count);
  print("  weir / mutex and condition variable", compare(ours, simple, pairs), count);
  print("  in processor time", compare<process_clock>(ours, simple, pairs), count);
  print("  libuv / libuv", compare(uv_again, uv, pairs), count);
  const double weir_sleeps = sleeps_each(ours, what);
  const double uv_sleeps = sleeps_each(uv, what);
  std::printf("  threads fall asleep, for one operation: weir %.2f, libuv %.2f, the other %.2f\n",
              weir_sleeps, uv_sleeps, sleeps_each(simple, what));
}

struct files {
  int buffered;
  int direct;
};

/// 64 MiB that are on the disk, the first of them in the page cache; without a name.
files make_files() {
  const char* base = std::getenv("TMPDIR");
  std::string path = std::string(base != nullptr ? base : "/var/tmp") + "/weir-bench-XXXXXX";
  const int buffered = ::mkostemp(path.data(), O_CLOEXEC);
  if (buffered < 0) fail("mkostemp", errno);
  const int direct = ::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  ::unlink(path.c_str());
  if (direct < 0) fail("O_DIRECT", errno);
  const std::vector<char> chunk(1 << 20, 'w');
  for (int i = 0; i < 64; ++i) {
    if (::write(buffered, chunk.data(), chunk.size()) < 0) fail("write", errno);
  }
  if (::fsync(buffered) < 0) fail("fsync", errno);
  return {buffered, direct};
}

// One at a time is not compared where the scheduler is free to place threads: once it has put two
// that wake each other on different processors, it leaves them there, whosever they are.
void compare_all(unsigned threads, placement where, const files& on, int pairs) {
  if (where != placement::anywhere) compare_at(threads, where, {"no-ops", 1, 4'000, -1, 1}, pairs);
  if (where == placement::apart) return;
  compare_at(threads, where, {"no-ops", 32, 40'000, -1, 1}, pairs);
  compare_at(threads, where, {"4 KiB, page cache", 32, 40'000, on.buffered, 256}, pairs);
  compare_at(threads, where, {"4 KiB, O_DIRECT", 4, 4'000, on.direct, 16'384}, pairs);
  compare_at(threads, where, {"4 KiB, O_DIRECT", 32, 8'000, on.direct, 16'384}, pairs);
}

/// In a process of its own: libuv makes its pool but once.
void compare_in_child(unsigned threads, placement where, const files& on, int pairs) {
  static constexpr const char* places[] = {"on two processors", "on one processor",
                                           "on another processor than the loop"};
  std::printf("\n%u thread(s), %s\n", threads, places[static_cast<std::size_t>(where)]);
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child < 0) fail("fork", errno);
  if (child == 0) {
    run_on(0, processors(0, where == placement::together ? 1 : 2));
    ::setenv("UV_THREADPOOL_SIZE", std::to_string(threads).c_str(), 1);
    weir::bench::print_heading();
    compare_all(threads, where, on, pairs);
    std::exit(0);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) std::exit(1);
}

}  // namespace

int main(int count, char** arguments) {
  const int pairs = count > 1 ? std::max(1, std::atoi(arguments[1])) : 15;
  const files on = make_files();
  const bool two_processors = std::thread::hardware_concurrency() > 1;
  for (const unsigned threads : {4U, 16U}) {
    if (two_processors) compare_in_child(threads, placement::anywhere, on, pairs);
    compare_in_child(threads, placement::together, on, pairs);
  }
  // A pool of one, for further threads of ours would begin on the processor of whoever began them.
  if (two_processors) compare_in_child(1, placement::apart, on, pairs);
}
