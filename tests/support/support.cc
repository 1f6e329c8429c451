#include "support/support.hpp"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "support/daemon.hpp"

namespace weir::testing {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::system_category(), what);
}

std::string in_words(std::int32_t answer) {
  if (answer >= 0) return std::to_string(answer);
  return std::to_string(answer) + " (" + std::system_category().message(-answer) + ")";
}

}  // namespace

// --- drivers -------------------------------------------------------------------------------------

namespace {

constexpr std::string_view daemon_name = "daemon";

// Started here, so that where it cannot be started the tests fail rather than being skipped.
const driver_report& report_of_daemon() {
  static const driver_report report = [] {
    const std::string name = "daemon:" + socket_of_test_daemon();
    std::vector<driver_report> tried;
    const auto opened = open_driver({.name = name}, tried);
    if (!opened) throw std::runtime_error(tried.back().reason);
    return tried.back();
  }();
  return report;
}

}  // namespace

std::string_view innermost(std::string_view driver) { return driver.substr(driver.rfind(':') + 1); }

const driver_report& report_of(std::string_view driver) {
  if (driver == daemon_name) return report_of_daemon();
  static const std::vector<driver_report> reports = probe_drivers();
  const auto found = std::ranges::find(reports, driver, &driver_report::name);
  if (found == reports.end()) throw std::runtime_error("no report of " + std::string(driver));
  return *found;
}

namespace {

std::unique_ptr<driver> in_faults_of_timing(std::unique_ptr<driver> inner, unsigned queue_depth) {
  const char* seed = std::getenv("WEIR_FAULT_SEED");
  faulty_options options = faults_of_timing(seed != nullptr ? std::strtoull(seed, nullptr, 10) : 1);
  options.queue_depth = queue_depth;
  return std::move(make_faulty(std::move(inner), options).value());
}

std::unique_ptr<driver> counted(std::unique_ptr<driver> inner, unsigned queue_depth) {
  return make_measured(std::move(inner), std::make_shared<measurements>(), "", queue_depth);
}

/// What these tests wrap a driver in; what open_driver knows is its own.
struct wrapper {
  std::string_view prefix;
  std::unique_ptr<driver> (*wrap)(std::unique_ptr<driver> inner, unsigned queue_depth);
};
constexpr std::array wrappers = {wrapper{"timing:", in_faults_of_timing},
                                 wrapper{"measured:", counted}};

}  // namespace

std::unique_ptr<driver> open_driver_named(std::string_view name, driver_options options) {
  for (const wrapper& each : wrappers) {
    if (!name.starts_with(each.prefix)) continue;
    name.remove_prefix(each.prefix.size());
    return each.wrap(open_driver_named(name, options), options.queue_depth);
  }
  std::string full(name);  // the names of wrappers that open_driver knows stay in front
  if (innermost(name) == daemon_name) full += ":" + socket_of_test_daemon();
  options.name = full;
  std::vector<driver_report> tried;
  auto opened = open_driver(options, tried);
  if (!opened) {
    throw std::runtime_error(tried.empty() ? opened.error().message() : tried.back().reason);
  }
  return std::move(*opened);
}

std::unique_ptr<io_context> open_context(std::string_view driver, driver_options options) {
  return std::make_unique<io_context>(open_driver_named(driver, options));
}

void driver_test::SetUp() {
  const driver_report& report = report_of(innermost(GetParam()));
  if (!report.available) GTEST_SKIP() << "SKIPPED: " << report.reason;
}

std::string name_of_driver(const ::testing::TestParamInfo<std::string_view>& tested) {
  std::string_view name = tested.param;
  std::string words;
  for (auto colon = name.find(':'); colon != name.npos; colon = name.find(':')) {
    words = "_" + std::string(name.substr(0, colon)) + words;
    name.remove_prefix(colon + 1);
  }
  return std::string(name) + words;
}

// --- operations ----------------------------------------------------------------------------------

recorded& add(batch& to, const request& what) {
  return *to.emplace_back(std::make_unique<recorded>(what));
}

void start_all(io_context& context, const batch& operations) {
  for (const auto& op : operations) context.start(*op);
}

::testing::AssertionResult answered(const recorded& op, std::int32_t expected) {
  if (op.completions != 1) {
    return ::testing::AssertionFailure() << "it completed " << op.completions << " times, not once";
  }
  if (op.answer() != expected) {
    return ::testing::AssertionFailure()
           << "it answered " << in_words(op.answer()) << ", not " << in_words(expected);
  }
  return ::testing::AssertionSuccess();
}

::testing::AssertionResult all_answered(const batch& operations, std::int32_t expected) {
  for (std::size_t i = 0; i < operations.size(); ++i) {
    if (auto one = answered(*operations[i], expected); !one) {
      return ::testing::AssertionFailure() << "operation " << i << ": " << one.message();
    }
  }
  return ::testing::AssertionSuccess();
}

void drive_until(io_context& context, const std::function<bool()>& done) {
  while (!done()) context.dispatch(true);
}

bool poll_until(io_context& context, const std::function<bool()>& done) {
  using std::chrono::steady_clock;
  constexpr std::chrono::milliseconds limit(4'000);
  while (!done()) {
    const auto until = steady_clock::now() + limit;
    // Nobody wakes a poll(2) that finds work only when its time is up.
    if (!readable(context.fd(), limit.count()) || steady_clock::now() >= until) return false;
    context.dispatch(false);
  }
  return true;
}

request read_request(int fd, std::span<std::byte> into, std::uint64_t offset) {
  return {.op = opcode::read,
          .fd = fd,
          .address = into.data(),
          .offset = offset,
          .length = into.size()};
}

request write_request(int fd, std::span<const std::byte> from, std::uint64_t offset) {
  return {.op = opcode::write,
          .fd = fd,
          .address = const_cast<std::byte*>(from.data()),
          .offset = offset,
          .length = from.size()};
}

// --- files ---------------------------------------------------------------------------------------

temp_directory::temp_directory() {
  const char* base = std::getenv("TMPDIR");
  path_ = std::string(base != nullptr ? base : "/var/tmp") + "/weir-test-XXXXXX";
  if (::mkdtemp(path_.data()) == nullptr) fail(path_);
}

temp_directory::~temp_directory() {
  std::error_code ignored;  // what cannot be removed is no failure of what was tested
  std::filesystem::remove_all(path_, ignored);
}

std::string temp_directory::operator/(std::string_view name) const {
  return path_ + "/" + std::string(name);
}

descriptor& descriptor::operator=(descriptor&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

void descriptor::reset() noexcept {
  if (fd_ >= 0) ::close(release());
}

descriptor open_file(const std::string& path, int flags) {
  descriptor opened(::open(path.c_str(), flags | O_CLOEXEC, 0644));
  if (!opened) fail(path);
  return opened;
}

descriptor make_file(const std::string& path, std::uint64_t size) {
  descriptor made = open_file(path, O_RDWR | O_CREAT | O_TRUNC);
  if (::ftruncate(made.get(), static_cast<off_t>(size)) != 0) fail(path);
  return made;
}

descriptor make_patterned_file(const std::string& path, std::size_t size) {
  descriptor made = make_file(path);
  std::vector<std::byte> bytes(size);
  fill(bytes, 0);
  for (std::size_t at = 0; at < size;) {
    const auto written = ::pwrite(made.get(), bytes.data() + at, size - at, static_cast<off_t>(at));
    if (written <= 0) fail(path);
    at += static_cast<std::size_t>(written);
  }
  return made;
}

bool is_resident(const descriptor& file, std::size_t size) {
  std::vector<std::byte> bytes(size);
  const iovec into{bytes.data(), size};
  return ::preadv2(file.get(), &into, 1, 0, RWF_NOWAIT) == static_cast<ssize_t>(size);
}

bool drop_from_cache(const descriptor& file) {
  if (::fsync(file.get()) != 0) return false;
  if (::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED) != 0) return false;
  // Looked at without touching it: a read, even one that does not wait, would fetch it again.
  const auto size = static_cast<std::size_t>(::lseek(file.get(), 0, SEEK_END));
  void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) fail("mmap");
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> resident((size + page - 1) / page, 1);
  const bool looked = ::mincore(mapped, size, resident.data()) == 0;
  ::munmap(mapped, size);
  return looked && std::ranges::none_of(resident, [](unsigned char each) { return each & 1; });
}

descriptor open_direct(const std::string& path) {
  descriptor opened(::open(path.c_str(), O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0644));
  if (!opened && errno != EINVAL) fail(path);
  return opened;
}

int closed_descriptor() {
  // Far above what a test opens: nothing else in this process gets the number meanwhile.
  constexpr int far = 999;
  if (is_open(far)) throw std::runtime_error("descriptor 999 is open");
  return far;
}

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

void pipe_ends::feed(std::size_t bytes) const {
  const std::vector<std::byte> food(bytes);
  if (::write(write.get(), food.data(), bytes) != static_cast<ssize_t>(bytes)) fail("pipe");
}

pipe_ends make_pipe(int flags) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), flags | O_CLOEXEC) != 0) fail("pipe2");
  return {descriptor(ends[0]), descriptor(ends[1])};
}

std::byte pattern(std::uint64_t offset, unsigned seed) {
  const std::uint64_t mixed = (offset + 1 + (std::uint64_t{seed} << 32)) * 0x9e3779b97f4a7c15;
  return static_cast<std::byte>(mixed >> 56);
}

namespace {

// A sanitizer looks at every access, so memory is written and compared by the word.
std::uint64_t pattern_word(std::uint64_t offset, unsigned seed) {
  std::uint64_t word = 0;
  for (unsigned i = 0; i < sizeof word; ++i) {
    const unsigned place = std::endian::native == std::endian::little ? i : sizeof word - 1 - i;
    word |= static_cast<std::uint64_t>(pattern(offset + i, seed)) << (8 * place);
  }
  return word;
}

}  // namespace

void fill(std::span<std::byte> memory, std::uint64_t offset, unsigned seed) {
  std::size_t i = 0;
  for (; i + sizeof(std::uint64_t) <= memory.size(); i += sizeof(std::uint64_t)) {
    const std::uint64_t word = pattern_word(offset + i, seed);
    std::memcpy(memory.data() + i, &word, sizeof word);
  }
  for (; i < memory.size(); ++i) memory[i] = pattern(offset + i, seed);
}

::testing::AssertionResult holds_pattern(std::span<const std::byte> memory, std::uint64_t offset,
                                         unsigned seed) {
  std::size_t right = 0;
  for (std::uint64_t word = 0; right + sizeof word <= memory.size(); right += sizeof word) {
    std::memcpy(&word, memory.data() + right, sizeof word);
    if (word != pattern_word(offset + right, seed)) break;
  }
  for (; right < memory.size(); ++right) {
    if (memory[right] == pattern(offset + right, seed)) continue;
    return ::testing::AssertionFailure() << "byte " << right << " of " << memory.size()
                                         << " is not that of offset " << offset + right;
  }
  return ::testing::AssertionSuccess();
}

::testing::AssertionResult holds_only(std::span<const std::byte> memory, std::byte value) {
  // Whether each byte equals the next is one call, where a sanitizer makes a loop slow.
  const auto all_equal = [&] {
    return std::memcmp(memory.data(), memory.data() + 1, memory.size() - 1) == 0;
  };
  if (memory.empty() || (memory.front() == value && all_equal())) {
    return ::testing::AssertionSuccess();
  }
  const auto other = std::ranges::find_if(memory, [&](std::byte b) { return b != value; });
  return ::testing::AssertionFailure()
         << "byte " << other - memory.begin() << " of " << memory.size() << " differs";
}

std::vector<std::byte> contents_of(const std::string& path) {
  const descriptor file = open_file(path, O_RDONLY);
  std::vector<std::byte> bytes(std::filesystem::file_size(path));
  for (std::size_t at = 0; at < bytes.size();) {
    const auto count = ::read(file.get(), &bytes[at], bytes.size() - at);
    if (count <= 0) fail(path);
    at += static_cast<std::size_t>(count);
  }
  return bytes;
}

// --- processes -----------------------------------------------------------------------------------

namespace {

[[noreturn]] void run_as_child(const std::function<void()>& body, const pipe_ends& output) {
  ::dup2(output.write.get(), STDOUT_FILENO);
  ::dup2(output.write.get(), STDERR_FILENO);
  ::alarm(thread_sanitizer ? 120 : 60);
  try {
    body();
  } catch (const std::exception& thrown) {
    ADD_FAILURE() << "it threw: " << thrown.what();
  }
  std::fflush(nullptr);
  ::_exit(::testing::Test::HasFailure() ? 1 : 0);
}

std::string everything_from(int fd) {
  std::string text;
  std::array<char, 4096> piece{};
  for (;;) {
    const auto count = ::read(fd, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(count));
  }
}

// A thread that has been joined may still be listed for a while, when the machine is busy: its
// flags (the seventh field after the name in proc(5)'s stat) then say that it ends.
bool is_ending(const std::filesystem::path& task) {
  constexpr unsigned long ends = 0x4;  // PF_EXITING
  std::string line;
  std::getline(std::ifstream(task / "stat"), line);
  const std::size_t after_name = line.rfind(") ");
  if (after_name == std::string::npos) return true;  // it has just gone
  std::istringstream fields(line.substr(after_name + 2));
  std::string skipped;
  for (int i = 0; i < 6; ++i) fields >> skipped;
  unsigned long flags = 0;
  fields >> flags;
  return (flags & ends) != 0;
}

template <class Wanted>
std::size_t count_tasks(Wanted wanted) {
  std::size_t count = 0;
  std::error_code ended;  // a thread may end while it is looked at
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", ended)) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (wanted(name) && !is_ending(task.path())) ++count;
  }
  return count;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const child_outcome& outcome) {
  if (outcome.signal != 0) {
    out << "a child that was ended by signal " << outcome.signal;
  } else {
    out << "a child that exited with " << outcome.exit_code;
  }
  return out << " and said:\n" << outcome.output;
}

child_outcome run_in_child(const std::function<void()>& body) {
  pipe_ends output = make_pipe();
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) fail("fork");
  if (child == 0) run_as_child(body, output);
  output.write.reset();
  child_outcome outcome;
  outcome.output = everything_from(output.read.get());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) outcome.signal = WTERMSIG(status);
  return outcome;
}

::testing::AssertionResult aborted_saying(const child_outcome& outcome, std::string_view words) {
  if (outcome.signal != SIGABRT) return ::testing::AssertionFailure() << outcome;
  if (outcome.output.find(words) == std::string::npos) {
    return ::testing::AssertionFailure() << outcome << "without the words: " << words;
  }
  return ::testing::AssertionSuccess();
}

namespace {

void filter_system_call(long number, std::uint32_t verdict) {
  std::array<sock_filter, 4> program{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, verdict),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter{.len = program.size(), .filter = program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail("PR_SET_NO_NEW_PRIVS");
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) fail("PR_SET_SECCOMP");
}

}  // namespace

void refuse_system_call(long number, int error) {
  filter_system_call(number, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error));
}

void die_of_system_call(long number) { filter_system_call(number, SECCOMP_RET_KILL_PROCESS); }

std::size_t count_threads() {
  return count_tasks([](const std::string&) { return true; });
}

std::size_t count_kernel_workers() {
  return count_tasks([](const std::string& name) { return name.starts_with("iou-wrk"); });
}

std::size_t count_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

bool readable(int fd, int timeout_ms) {
  pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
  int ready = 0;
  while ((ready = ::poll(&waiting, 1, timeout_ms)) < 0 && errno == EINTR) {
  }
  return ready == 1;
}

std::size_t bytes_in(const pipe_ends& pipe) {
  int count = 0;
  if (::ioctl(pipe.read.get(), FIONREAD, &count) != 0) fail("FIONREAD");
  return static_cast<std::size_t>(count);
}

int this_thread() { return ::gettid(); }

bool is_asleep(int thread) {
  std::string line;
  std::getline(std::ifstream("/proc/self/task/" + std::to_string(thread) + "/stat"), line);
  const std::size_t after_name = line.rfind(") ");
  return after_name != std::string::npos && line[after_name + 2] == 'S';
}

bool eventually(const std::function<bool()>& condition) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit) return false;
    ::poll(nullptr, 0, 1);
  }
  return true;
}

}  // namespace weir::testing
