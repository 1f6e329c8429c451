// Random histories: whatever is asked of a driver, in whatever order, its answers and the files it
// leaves are those of the sync driver. WEIR_SEED replays one.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "support/support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t page = 4096;  // what O_DIRECT is content with everywhere
constexpr std::size_t slot = 2 * page;
constexpr std::size_t slots = 48;
constexpr std::size_t files = 3;  // the last is opened O_DIRECT, where that is possible
constexpr int steps = 500;

/// One operation of a history, with files by number instead of by descriptor.
struct planned {
  opcode op;
  std::size_t file;
  std::uint64_t offset;
  std::uint64_t length;
  unsigned seed;  // of the bytes written
};

/// What is started together; the next step waits for all of it.
using step = std::vector<planned>;

/// Draws a history that has one outcome only: within a step no two operations touch the same bytes,
/// and none reads where another moves the end of the file.
class historian {
 public:
  explicit historian(std::uint64_t seed) : random_(seed) {}

  std::vector<step> draw() {
    std::vector<step> history;
    while (history.size() < steps) {
      history.push_back(below(3) == 0 ? step{lonely()} : concurrent());
    }
    return history;
  }

 private:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

  // Anything, also what fails.
  planned lonely() {
    const std::size_t file = below(files);
    planned what{.op = opcode::nop,
                 .file = file,
                 .offset = below(slots + 8) * slot,
                 .length = slot,
                 .seed = static_cast<unsigned>(random_())};
    static constexpr std::array ops = {opcode::read,      opcode::write,     opcode::readv,
                                       opcode::writev,    opcode::ftruncate, opcode::fallocate,
                                       opcode::fdatasync, opcode::nop,       opcode::statx};
    what.op = ops[below(ops.size())];
    if (what.op == opcode::ftruncate) what.offset = below(slots * slot);
    if (below(8) == 0) what.length = below(3 * slot);
    if (below(16) == 0) what.offset += below(5'000);
    if (below(64) == 0) what.offset = UINT64_MAX - below(10'000);
    // A misaligned write past the page cache is refused with EINVAL, and yet the kernel may have
    // written the part that was aligned: that depends on how the file lies on the disk.
    if (file == files - 1 && (what.op == opcode::write || what.op == opcode::writev)) {
      what.offset -= what.offset % page;
      what.length -= what.length % page;
    }
    remember(what);
    return what;
  }

  step concurrent() {
    std::array<std::size_t, slots> order;
    for (std::size_t i = 0; i < slots; ++i) order[i] = i;
    std::ranges::shuffle(order, random_);
    step all;
    for (std::size_t file = 0; file < files; ++file) {
      const std::uint64_t known = sizes_[file];
      for (std::size_t i = 0; i < 1 + below(12); ++i) {
        planned what{.op = below(2) == 0 ? opcode::read : opcode::readv,
                     .file = file,
                     .offset = order[i] * slot,
                     .length = slot,
                     .seed = static_cast<unsigned>(random_())};
        const bool inside = what.offset + slot <= known;
        if (!inside || below(2) == 0) what.op = below(2) == 0 ? opcode::write : opcode::writev;
        all.push_back(what);
      }
    }
    for (const planned& what : all) remember(what);
    return all;
  }

  // The least that the file is long afterwards; what might fail does not count.
  void remember(const planned& what) {
    std::uint64_t& size = sizes_[what.file];
    const bool aligned = what.offset % slot == 0 && what.length % slot == 0 && what.length != 0;
    if (what.offset > slots * slot * 2) return;
    if (what.op == opcode::ftruncate) size = std::min(size, what.offset);
    if ((what.op == opcode::write || what.op == opcode::writev) && aligned) {
      size = std::max(size, what.offset + what.length);
    }
  }

  std::mt19937_64 random_;
  std::array<std::uint64_t, files> sizes_{};
};

/// One driver's copy of the world.
class world {
 public:
  explicit world(std::string_view driver) : context_(open_context(driver, {.queue_depth = 16})) {
    for (std::size_t i = 0; i < files; ++i) {
      files_[i] = make_file(path(i));
      hints_[i] = 0;
    }
    if (descriptor direct = open_direct(path(files - 1))) {
      files_[files - 1] = std::move(direct);
      hints_[files - 1] = hint::direct;
    }
  }

  /// Everything that can be seen of a step: each answer, and what was read.
  std::vector<std::string> carry_out(const step& together) {
    batch operations;
    for (std::size_t i = 0; i < together.size(); ++i) {
      add(operations, prepare(together[i], working_[i]));
    }
    start_all(*context_, operations);
    context_->run();
    std::vector<std::string> seen;
    for (std::size_t i = 0; i < together.size(); ++i) {
      EXPECT_EQ(operations[i]->completions, 1);
      seen.push_back(describe(together[i], operations[i]->answer(), working_[i]));
    }
    return seen;
  }

  std::vector<std::byte> contents(std::size_t file) const { return contents_of(path(file)); }

 private:
  struct workspace {
    buffer memory{3 * slot};
    std::array<iovec, 2> vector{};
    struct statx status{};
    char empty[1] = {};
  };

  std::string path(std::size_t file) const { return directory_ / std::to_string(file); }

  request prepare(const planned& what, workspace& in) const {
    const bool writes = what.op == opcode::write || what.op == opcode::writev;
    if (writes) fill(in.memory.first(what.length), 0, what.seed);
    request made{.op = what.op,
                 .hints = hints_[what.file],
                 .fd = files_[what.file].get(),
                 .address = in.memory.data(),
                 .offset = what.offset,
                 .length = what.length};
    if (what.op == opcode::readv || what.op == opcode::writev) {
      const std::size_t half = what.length / 2 / page * page;
      in.vector = {{{in.memory.data(), half}, {in.memory.data() + half, what.length - half}}};
      made.address = in.vector.data();
      made.length = 2;
    } else if (what.op == opcode::statx) {
      made.flags = AT_EMPTY_PATH;
      made.mode = STATX_SIZE;
      made.address = in.empty;
      made.offset = reinterpret_cast<std::uintptr_t>(&in.status);
    }
    return made;
  }

  static std::string describe(const planned& what, std::int32_t answer, const workspace& in) {
    std::ostringstream seen;
    seen << "opcode " << static_cast<int>(what.op) << " file " << what.file << " offset "
         << what.offset << " length " << what.length << ": " << answer;
    const bool reads = what.op == opcode::read || what.op == opcode::readv;
    if (reads && answer > 0) {
      const auto bytes = in.memory.first(static_cast<std::size_t>(answer));
      const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      seen << ", bytes " << std::hash<std::string_view>{}(text);
    }
    if (what.op == opcode::statx && answer == 0) seen << ", size " << in.status.stx_size;
    return seen.str();
  }

  temp_directory directory_;
  std::array<descriptor, files> files_;
  std::array<std::uint8_t, files> hints_{};
  std::vector<workspace> working_ = std::vector<workspace>(files * 12);
  std::unique_ptr<io_context> context_;
};

/// Without printing either.
::testing::AssertionResult same_bytes(std::span<const std::byte> tested,
                                      std::span<const std::byte> expected) {
  if (tested.size() != expected.size()) {
    return ::testing::AssertionFailure()
           << tested.size() << " bytes instead of " << expected.size();
  }
  std::size_t differing = 0;
  std::size_t first = 0;
  for (std::size_t i = 0; i < tested.size(); ++i) {
    if (tested[i] == expected[i]) continue;
    if (differing++ == 0) first = i;
  }
  if (differing == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << differing << " of " << tested.size() << " bytes differ, the first at " << first << ": "
         << static_cast<int>(tested[first]) << " instead of " << static_cast<int>(expected[first]);
}

class model : public driver_test {
 protected:
  static std::uint64_t seed() {
    const char* wanted = std::getenv("WEIR_SEED");
    return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : std::random_device{}();
  }
};

INSTANTIATE_TEST_SUITE_P(drivers, model,
                         ::testing::Values("uring", "linux_aio", "threads", "merging:uring",
                                           "merging:linux_aio", "merging:threads", "merging:sync"),
                         name_of_driver);

// Invariants 1 and 2
TEST_P(model, answers_and_leaves_files_as_sync_does) {
  const std::uint64_t number = seed();
  RecordProperty("seed", std::to_string(number));
  SCOPED_TRACE("replay with WEIR_SEED=" + std::to_string(number));
  world tested(GetParam());
  world expected("sync");
  int count = 0;
  for (const step& together : historian(number).draw()) {
    const auto seen = tested.carry_out(together);
    const auto wanted = expected.carry_out(together);
    for (std::size_t i = 0; i < seen.size(); ++i) {
      EXPECT_EQ(seen[i], wanted[i]) << "operation " << i << " of step " << count;
    }
    if (HasFailure()) return;
    ++count;
  }
  for (std::size_t file = 0; file < files; ++file) {
    EXPECT_TRUE(same_bytes(tested.contents(file), expected.contents(file))) << "file " << file;
  }
}

}  // namespace
}  // namespace weir::testing
