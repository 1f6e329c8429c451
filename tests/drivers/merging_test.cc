// What the merging driver makes of what it is given: which transfers reach the driver below,
// exactly, and what each part is answered. Most tests have a driver below that only remembers, and
// answers as it is told; those at the end have each of the real ones.

#include "weir/merging.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "kernel_abi.hpp"
#include "support/support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t block = 4096;
constexpr std::size_t kibibyte = 1024;

bool is_vectored(opcode op) { return op == opcode::readv || op == opcode::writev; }

/// Where a transfer moves bytes from or to, part by part.
std::vector<iovec> memory_of(const request& what) {
  if (!is_vectored(what.op)) return {{what.address, what.length}};
  const auto* vector = static_cast<const iovec*>(what.address);
  return {vector, vector + what.length};
}

std::size_t bytes_of(const request& what) {
  std::size_t sum = 0;
  for (const iovec& part : memory_of(what)) sum += part.iov_len;
  return sum;
}

/// As a test writes what it expects: "read 0 + 4096", "writev 0 + 4096 + 4096".
std::string in_words(const request& what) {
  static const std::map<opcode, std::string> names = {{opcode::read, "read"},
                                                      {opcode::write, "write"},
                                                      {opcode::readv, "readv"},
                                                      {opcode::writev, "writev"}};
  const auto name = names.find(what.op);
  if (name == names.end()) return "opcode " + std::to_string(static_cast<int>(what.op));
  std::string words = name->second + " " + std::to_string(what.offset);
  for (const iovec& part : memory_of(what)) words += " + " + std::to_string(part.iov_len);
  return words;
}

using words = std::vector<std::string>;

/// What the driver below has been given, and how it behaves.
struct below {
  words arrived;                      // everything but cancel requests
  std::vector<operation*> addresses;  // of the same
  std::vector<request> requests;      // of the same
  std::vector<std::vector<iovec>> memory;
  std::vector<operation*> cancelled;  // the targets of cancel requests
  std::vector<deadline> waits;        // of each reap

  /// The answer to a transfer.
  std::function<std::int32_t(const request&)> answer = [](const request& what) {
    return static_cast<std::int32_t>(bytes_of(what));
  };
  std::size_t room = SIZE_MAX;   // for operations other than cancel requests
  bool holds_transfers = false;  // completes none
  bool holds_cancels = false;
  bool can_stop = true;
  std::function<void()> at_reap = [] {};
};

/// Takes what it has room for; carries nothing out.
class remembering_driver final : public driver {
 public:
  explicit remembering_driver(below& log) noexcept : log_(log) {}

  void submit(operation_queue& staged) noexcept override {
    while (!staged.empty()) {
      if (staged.front().args.op == opcode::cancel) {
        operation& request = staged.pop_front();
        log_.cancelled.push_back(static_cast<operation*>(request.args.address));
        cancel(request);
        cancels_.push_back(request);
        continue;
      }
      if (held_.size() >= log_.room) return;
      operation& op = staged.pop_front();
      log_.arrived.push_back(in_words(op.args));
      log_.addresses.push_back(&op);
      log_.requests.push_back(op.args);
      log_.memory.push_back(memory_of(op.args));
      held_.push_back(op);
    }
  }

  void reap(operation_queue& completed, deadline until) noexcept override {
    log_.waits.push_back(until);
    log_.at_reap();
    completed.append(std::move(stopped_));
    if (!log_.holds_cancels) completed.append(std::move(cancels_));
    while (!log_.holds_transfers && !held_.empty()) {
      operation& op = held_.pop_front();
      op.set_answer(log_.answer(op.args));
      completed.push_back(op);
    }
  }

  void wake() noexcept override {}
  int fd() const noexcept override { return -1; }

 private:
  void cancel(operation& request) {
    operation_queue held = std::move(held_);
    bool found = false;
    while (!held.empty()) {
      operation& op = held.pop_front();
      const bool meant = names(request.args, op) || request.args.address == &op;
      found = found || meant;
      if (meant && log_.can_stop) op.set_answer(-ECANCELED);
      (meant && log_.can_stop ? stopped_ : held_).push_back(op);
    }
    const bool many = request.args.address == nullptr;
    request.set_answer(many || (found && log_.can_stop) ? 0 : found ? -EALREADY : -ENOENT);
  }

  below& log_;
  operation_queue held_;
  operation_queue stopped_;
  operation_queue cancels_;
};

class merging : public ::testing::Test {
 protected:
  void open(const merging_options& options = {}) {
    driver_ = make_merging(std::make_unique<remembering_driver>(below_), options).value();
  }

  recorded& read(std::uint64_t offset, std::size_t length) {
    return add(operations_, read_request(file_.get(), part(offset, length), offset));
  }
  recorded& write(std::uint64_t offset, std::size_t length) {
    return add(operations_, write_request(file_.get(), part(offset, length), offset));
  }

  /// Memory that stands for this part of the file.
  std::span<std::byte> part(std::uint64_t offset, std::size_t length) {
    return std::span(memory_).subspan(offset % (memory_.size() / 2), length);
  }

  /// Everything made so far, in one turn; what of it is left there.
  operation_queue& submit() {
    for (; started_ < operations_.size(); ++started_) staged_.push_back(*operations_[started_]);
    driver_->submit(staged_);
    return staged_;
  }

  /// As a context would: what the driver gives back has been completed once more.
  std::size_t reap(deadline until = deadline::now()) {
    operation_queue completed;
    driver_->reap(completed, until);
    const std::size_t count = completed.size();
    while (!completed.empty()) ++static_cast<recorded&>(completed.pop_front()).completions;
    return count;
  }

  /// The turn's transfers, as they arrived below.
  words turn() {
    below_.arrived.clear();
    submit();
    reap();
    return below_.arrived;
  }

  recorded& cancel(recorded& target) { return add(operations_, cancel_request(target)); }

  temp_directory directory_;
  descriptor file_ = make_file(directory_ / "file", 1 << 20);
  std::vector<std::byte> memory_ = std::vector<std::byte>(2 << 20);
  below below_;
  batch operations_;  // before the driver, whose memory it is
  operation_queue staged_;
  std::size_t started_ = 0;
  std::unique_ptr<driver> driver_;
};

// --- what is merged ------------------------------------------------------------------------------

// I-T3
TEST_F(merging, a_turn_without_operations_passes_nothing) {
  open();
  EXPECT_EQ(turn(), words{});
}

// I-T3
TEST_F(merging, passes_a_lone_transfer_unchanged) {
  open();
  recorded& lone = read(0, kibibyte);
  const request before = lone.args;
  EXPECT_EQ(turn(), words{"read 0 + 1024"});
  EXPECT_EQ(below_.addresses[0], &lone);
  EXPECT_EQ(below_.requests[0], before);
  EXPECT_TRUE(answered(lone, 1024));
}

// I-T3
TEST_F(merging, merges_two_adjacent_transfers) {
  open();
  read(0, kibibyte);
  read(kibibyte, kibibyte);
  EXPECT_EQ(turn(), words{"readv 0 + 1024 + 1024"});
  EXPECT_TRUE(all_answered(operations_, 1024));
}

// I-T3
TEST_F(merging, keeps_transfers_apart_that_a_gap_separates) {
  open();
  read(0, kibibyte);
  read(kibibyte + 1, kibibyte);
  EXPECT_EQ(turn(), (words{"read 0 + 1024", "read 1025 + 1024"}));
}

TEST_F(merging, keeps_transfers_apart_that_overlap) {
  open();
  write(0, kibibyte);
  write(kibibyte - 1, kibibyte);
  write(0, kibibyte);
  EXPECT_EQ(turn(), (words{"write 0 + 1024", "write 1023 + 1024", "write 0 + 1024"}));
}

// Of two that begin where another ends, one is merged; whichever, they do not both follow it.
TEST_F(merging, merges_one_of_several_that_begin_at_one_place) {
  open();
  read(0, kibibyte);
  read(kibibyte, kibibyte);
  read(kibibyte, kibibyte);
  read(0, kibibyte);
  words arrived = turn();
  std::ranges::sort(arrived);
  EXPECT_EQ(arrived, (words{"read 0 + 1024", "read 1024 + 1024", "readv 0 + 1024 + 1024"}));
  EXPECT_TRUE(all_answered(operations_, 1024));
}

TEST_F(merging, merges_whatever_the_order_of_arrival) {
  open();
  for (const std::size_t at : {7uz, 3uz, 5uz, 0uz, 6uz, 1uz, 4uz}) read(at * kibibyte, kibibyte);
  EXPECT_EQ(turn(),
            (words{"readv 3072 + 1024 + 1024 + 1024 + 1024 + 1024", "readv 0 + 1024 + 1024"}));
}

// I12
TEST_F(merging, keeps_files_and_directions_apart) {
  open();
  const descriptor other = make_file(directory_ / "other", 1 << 20);
  for (std::uint64_t at = 0; at < 3 * kibibyte; at += kibibyte) {
    read(at, kibibyte);
    write(at, kibibyte);
    read(at, kibibyte).args.fd = other.get();
  }
  EXPECT_EQ(turn(), (words{"readv 0 + 1024 + 1024 + 1024", "writev 0 + 1024 + 1024 + 1024",
                           "readv 0 + 1024 + 1024 + 1024"}));
  EXPECT_EQ(below_.requests[0].fd, file_.get());
  EXPECT_EQ(below_.requests[2].fd, other.get());
}

TEST_F(merging, keeps_apart_what_is_asked_for_on_other_terms) {
  open();
  read(0, kibibyte);
  read(1 * kibibyte, kibibyte).args.flags = RWF_NOWAIT;
  read(2 * kibibyte, kibibyte).args.priority = 3;
  read(3 * kibibyte, kibibyte).args.hints = hint::direct;
  EXPECT_EQ(turn(),
            (words{"read 0 + 1024", "read 1024 + 1024", "read 2048 + 1024", "read 3072 + 1024"}));
}

TEST_F(merging, passes_on_the_terms_that_all_parts_share) {
  open();
  for (std::uint64_t at = 0; at < 4 * kibibyte; at += kibibyte) {
    request& what = write(at, kibibyte).args;
    what.flags = RWF_DSYNC;
    what.priority = 3;
    what.hints = hint::direct;
  }
  EXPECT_EQ(turn(), words{"writev 0 + 1024 + 1024 + 1024 + 1024"});
  EXPECT_EQ(below_.requests[0].flags, static_cast<std::uint32_t>(RWF_DSYNC));
  EXPECT_EQ(below_.requests[0].priority, 3);
  EXPECT_EQ(below_.requests[0].hints, hint::direct);
}

// I-D12: the predecessor copied.
TEST_F(merging, moves_bytes_from_and_to_the_parts_own_memory) {
  open();
  std::array<std::byte, 16> first{};
  std::array<std::byte, 32> second{};
  add(operations_, read_request(file_.get(), second, 16));
  add(operations_, read_request(file_.get(), first, 0));
  EXPECT_EQ(turn(), words{"readv 0 + 16 + 32"});
  EXPECT_EQ(below_.memory[0][0].iov_base, first.data());
  EXPECT_EQ(below_.memory[0][1].iov_base, second.data());
}

TEST_F(merging, passes_empty_and_vectored_transfers_and_all_else_unchanged) {
  open();
  std::array<iovec, 1> vector{{{memory_.data(), kibibyte}}};
  read(0, kibibyte);
  read(kibibyte, 0);
  add(operations_, {.op = opcode::readv,
                    .fd = file_.get(),
                    .address = vector.data(),
                    .offset = kibibyte,
                    .length = 1});
  add(operations_, {.op = opcode::fsync, .fd = file_.get()});
  turn();
  ASSERT_EQ(below_.addresses.size(), 4);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(below_.addresses[i], operations_[i].get());
}

// A pipe and a socket keep what is written at once together, and apart from the rest.
TEST_F(merging, passes_transfers_of_pipes_unchanged) {
  open();
  const pipe_ends pipe = make_pipe(O_DIRECT);
  const descriptor device = open_file("/dev/zero", O_RDWR);
  for (const int fd : {pipe.read.get(), pipe.write.get(), device.get(), closed_descriptor()}) {
    for (std::uint64_t at = 0; at < 2 * kibibyte; at += kibibyte) {
      (fd == pipe.write.get() ? write(at, kibibyte) : read(at, kibibyte)).args.fd = fd;
    }
  }
  turn();
  EXPECT_EQ(below_.arrived.size(), 8);
}

// Where they go is not where they say.
TEST_F(merging, passes_appending_writes_unchanged) {
  open();
  const descriptor appending = open_file(directory_ / "file", O_RDWR | O_APPEND);
  for (std::uint64_t at = 0; at < 2 * kibibyte; at += kibibyte) {
    write(at, kibibyte).args.flags = RWF_APPEND;
    write(at, kibibyte).args.fd = appending.get();
  }
  turn();
  EXPECT_EQ(below_.arrived.size(), 4);
  for (std::uint64_t at = 0; at < 2 * kibibyte; at += kibibyte) {
    read(at, kibibyte).args.fd = appending.get();
  }
  EXPECT_EQ(turn(), words{"readv 0 + 1024 + 1024"});
}

// RWF_ATOMIC: all of a write or nothing, of the write that was asked for.
TEST_F(merging, passes_atomic_writes_unchanged) {
  open();
  for (std::uint64_t at = 0; at < 2 * block; at += block) {
    write(at, block).args.flags = detail::rwf_atomic;
  }
  EXPECT_EQ(turn().size(), 2);
}

// Invariant 2. The kernel may take in company what it refuses alone.
TEST_F(merging, passes_misaligned_parts_past_the_page_cache_unchanged) {
  const descriptor direct = open_direct(directory_ / "file");
  if (!direct) GTEST_SKIP() << "the file system refuses O_DIRECT";
  open();
  buffer memory(8 * block);
  const auto transfer = [&](std::size_t memory_at, std::uint64_t offset, std::size_t length) {
    add(operations_, read_request(direct.get(), memory.span().subspan(memory_at, length), offset));
  };
  transfer(0, 0, block);
  transfer(block, block, 100);
  transfer(2 * block, block + 100, block - 100);
  transfer(3 * block, 2 * block, block);
  transfer(4 * block + 1, 3 * block, block);
  transfer(6 * block, 4 * block, block);
  transfer(7 * block, 5 * block, block);
  EXPECT_EQ(turn(), (words{"read 0 + 4096", "read 4096 + 100", "read 4196 + 3996",
                           "read 8192 + 4096", "read 12288 + 4096", "readv 16384 + 4096 + 4096"}));
}

// Invariant 2
TEST_F(merging, passes_unchanged_what_is_out_of_range) {
  open();
  constexpr std::uint64_t last = INT64_MAX - transfer_max;
  for (const std::uint64_t offset : {last - kibibyte, last, last + kibibyte}) {
    read(offset, kibibyte);
  }
  read(UINT64_MAX - kibibyte + 1, kibibyte);  // ends where a file begins
  read(0, kibibyte);
  turn();
  EXPECT_EQ(below_.arrived.size(), 4);
  EXPECT_EQ(below_.memory[0].size(), 2);
}

// Random batches, against a search that is too simple to be wrong.
TEST_F(merging, finds_every_neighbour) {
  open({.queue_depth = 512, .max_segments = 1024});
  const descriptor other = make_file(directory_ / "other", 1 << 20);
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    operations_.clear();
    started_ = 0;
    std::map<std::tuple<int, opcode, std::uint64_t>, std::uint64_t> places;
    const std::size_t places_to_draw_from = 2 + random() % 500;
    for (std::size_t i = random() % 512; i > 0; --i) {
      const int fd = random() % 2 == 0 ? file_.get() : other.get();
      const opcode op = random() % 2 == 0 ? opcode::read : opcode::write;
      const std::uint64_t offset = random() % places_to_draw_from * 512;
      if (!places.emplace(std::tuple{fd, op, offset}, 512).second) continue;
      read(offset, 512).args.fd = fd;
      operations_.back()->args.op = op;
    }
    std::size_t expected = 0;
    for (const auto& [place, length] : places) {
      const auto& [fd, op, offset] = place;
      if (offset < 512 || !places.contains(std::tuple{fd, op, offset - 512})) ++expected;
    }
    EXPECT_EQ(turn().size(), expected) << "round " << round;
    EXPECT_TRUE(all_answered(operations_, 512));
  }
}

// Numbers that grow with each operation come to their end.
TEST_F(merging, goes_on_for_ever) {
  open({.queue_depth = 64});
  for (std::uint64_t at = 0; at < 64 * kibibyte; at += kibibyte) read(at, kibibyte);
  for (int i = 0; i < 5'000; ++i) {
    ASSERT_EQ(turn().size(), 1) << "turn " << i;
    started_ = 0;
  }
}

// --- limits --------------------------------------------------------------------------------------

// Invariant 14, I-T3, I-D6
TEST_F(merging, the_limit_in_bytes_is_exact) {
  open({.max_bytes = 4 * kibibyte});
  read(0, kibibyte);
  read(kibibyte, 3 * kibibyte);
  EXPECT_EQ(turn(), words{"readv 0 + 1024 + 3072"});
  read(0, kibibyte);
  read(kibibyte, 3 * kibibyte + 1);
  EXPECT_EQ(turn(), (words{"read 0 + 1024", "read 1024 + 3073"}));
  for (std::uint64_t at = 0; at < 9 * kibibyte; at += kibibyte) read(at, kibibyte);
  EXPECT_EQ(turn(), (words{"readv 0 + 1024 + 1024 + 1024 + 1024",
                           "readv 4096 + 1024 + 1024 + 1024 + 1024", "read 8192 + 1024"}));
}

// Invariant 14, I-D6
TEST_F(merging, the_limit_in_parts_is_exact) {
  open({.max_segments = 3});
  for (std::uint64_t at = 0; at < 7 * kibibyte; at += kibibyte) read(at, kibibyte);
  EXPECT_EQ(turn(), (words{"readv 0 + 1024 + 1024 + 1024", "readv 3072 + 1024 + 1024 + 1024",
                           "read 6144 + 1024"}));
}

// I9
TEST_F(merging, passes_alone_what_is_as_long_as_the_limit) {
  open({.max_bytes = 4 * kibibyte});
  read(0, kibibyte);
  read(kibibyte, 4 * kibibyte);
  read(5 * kibibyte, 4 * kibibyte - 1);
  EXPECT_EQ(turn(), (words{"read 0 + 1024", "read 1024 + 4096", "read 5120 + 4095"}));
}

TEST_F(merging, merges_nothing_where_one_part_is_the_limit) {
  open({.max_segments = 1});
  read(0, kibibyte);
  read(kibibyte, kibibyte);
  EXPECT_EQ(turn(), (words{"read 0 + 1024", "read 1024 + 1024"}));
}

TEST_F(merging, merges_as_many_as_a_system_call_takes) {
  open({.queue_depth = 2048, .max_segments = 1024});
  for (std::uint64_t at = 0; at < 2048; ++at) read(at, 1);
  turn();
  ASSERT_EQ(below_.memory.size(), 2);
  EXPECT_EQ(below_.memory[0].size(), 1024);
  EXPECT_EQ(below_.memory[1].size(), 1024);
}

TEST_F(merging, refuses_limits_that_make_no_sense) {
  const auto refused = [&](const merging_options& options) {
    return error_of(make_merging(std::make_unique<remembering_driver>(below_), options)) ==
           std::errc::invalid_argument;
  };
  EXPECT_FALSE(refused({}));
  EXPECT_TRUE(refused({.queue_depth = 0}));
  EXPECT_TRUE(refused({.queue_depth = 16'385}));
  EXPECT_TRUE(refused({.max_bytes = 0}));
  EXPECT_FALSE(refused({.max_bytes = transfer_max}));
  EXPECT_TRUE(refused({.max_bytes = transfer_max + 1}));
  EXPECT_TRUE(refused({.max_segments = 0}));
  EXPECT_FALSE(refused({.queue_depth = 1, .max_segments = 1024}));
  EXPECT_TRUE(refused({.max_segments = 1025}));
  EXPECT_EQ(error_of(make_merging(nullptr)), std::errc::invalid_argument);
}

// --- answers -------------------------------------------------------------------------------------

// I-T6
TEST_F(merging, a_short_transfer_fills_its_parts_in_their_order) {
  open();
  const recorded& second = read(4016, 16);
  const recorded& first = read(4000, 16);
  below_.answer = [](const request&) { return 24; };
  EXPECT_EQ(turn(), words{"readv 4000 + 16 + 16"});
  EXPECT_TRUE(answered(first, 16));
  EXPECT_TRUE(answered(second, 8));
}

// Invariant 2: 0 is the end of the file, and nothing else.
TEST_F(merging, a_part_that_nothing_was_read_of_is_read_again_alone) {
  open();
  for (std::uint64_t at = 0; at < 64; at += 16) read(at, 16);
  below_.answer = [](const request& what) {
    if (what.op == opcode::readv) return 24;
    return what.offset < 48 ? 16 : 0;
  };
  EXPECT_EQ(turn(), (words{"readv 0 + 16 + 16 + 16 + 16", "read 32 + 16", "read 48 + 16"}));
  EXPECT_TRUE(answered(*operations_[0], 16));
  EXPECT_TRUE(answered(*operations_[1], 8));
  EXPECT_TRUE(answered(*operations_[2], 16));
  EXPECT_TRUE(answered(*operations_[3], 0));
}

TEST_F(merging, a_transfer_that_finds_the_end_at_once_says_so_for_each_part) {
  open();
  for (std::uint64_t at = 0; at < 48; at += 16) read(at, 16);
  below_.answer = [](const request&) { return 0; };
  EXPECT_EQ(turn(),
            (words{"readv 0 + 16 + 16 + 16", "read 0 + 16", "read 16 + 16", "read 32 + 16"}));
  EXPECT_TRUE(all_answered(operations_, 0));
}

// Invariant 19, I-D8: never reported as written, nor as written with 0 bytes.
TEST_F(merging, a_part_that_nothing_was_written_of_has_its_own_error) {
  open();
  for (std::uint64_t at = 0; at < 48; at += 16) write(at, 16);
  below_.answer = [](const request& what) { return what.op == opcode::writev ? 24 : -ENOSPC; };
  EXPECT_EQ(turn(), (words{"writev 0 + 16 + 16 + 16", "write 32 + 16"}));
  EXPECT_TRUE(answered(*operations_[0], 16));
  EXPECT_TRUE(answered(*operations_[1], 8));
  EXPECT_TRUE(answered(*operations_[2], -ENOSPC));
}

// Invariant 3, I-D2, I-T6
TEST_F(merging, an_error_is_for_the_part_that_causes_it) {
  open();
  for (std::uint64_t at = 0; at < 48; at += 16) read(1000 + at, 16);
  below_.answer = [](const request& what) {
    return what.op == opcode::readv || what.offset == 1016 ? -EIO : 16;
  };
  EXPECT_EQ(turn(), (words{"readv 1000 + 16 + 16 + 16", "read 1000 + 16", "read 1016 + 16",
                           "read 1032 + 16"}));
  EXPECT_TRUE(answered(*operations_[0], 16));
  EXPECT_TRUE(answered(*operations_[1], -EIO));
  EXPECT_TRUE(answered(*operations_[2], 16));
}

// I-T6: the same errno to all, where it is the file's.
TEST_F(merging, an_error_of_all_parts_is_reported_by_each) {
  open();
  for (std::uint64_t at = 0; at < 48; at += 16) write(1000 + at, 16);
  below_.answer = [](const request&) { return -EIO; };
  EXPECT_EQ(turn().size(), 4);
  EXPECT_TRUE(all_answered(operations_, -EIO));
}

TEST_F(merging, an_operation_comes_back_as_it_was_started) {
  open();
  std::vector<request> before;
  for (std::uint64_t at = 0; at < 48; at += 16) before.push_back(read(at, 16).args);
  below_.answer = [](const request&) { return 16; };  // the first part; the others go again
  turn();
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(operations_[i]->args, before[i]);
}

// --- how many, and when --------------------------------------------------------------------------

// Invariant 13: the parts are counted.
TEST_F(merging, takes_no_more_than_the_queue_depth) {
  open({.queue_depth = 4});
  below_.holds_transfers = true;
  for (std::uint64_t at = 0; at < 10 * kibibyte; at += kibibyte) read(at, kibibyte);
  EXPECT_EQ(submit().size(), 6);
  EXPECT_EQ(below_.arrived, words{"readv 0 + 1024 + 1024 + 1024 + 1024"});
  EXPECT_EQ(submit().size(), 6);
  below_.holds_transfers = false;
  EXPECT_EQ(reap(), 4);
  EXPECT_EQ(submit().size(), 2);
  EXPECT_EQ(reap(), 4);
  EXPECT_EQ(submit().size(), 0);
  EXPECT_EQ(reap(), 2);
  EXPECT_TRUE(all_answered(operations_, 1024));
}

// Invariant 13: also while a failed transfer's parts are on their way again.
TEST_F(merging, parts_that_go_again_are_still_counted) {
  open({.queue_depth = 4});
  below_.answer = [&](const request&) {
    below_.holds_transfers = true;
    return -EIO;
  };
  for (std::uint64_t at = 0; at < 10 * kibibyte; at += kibibyte) read(at, kibibyte);
  EXPECT_EQ(turn().size(), 5);
  EXPECT_EQ(submit().size(), 6);
  EXPECT_EQ(below_.arrived.size(), 5);
}

TEST_F(merging, works_with_a_queue_of_one) {
  open({.queue_depth = 1});
  for (std::uint64_t at = 0; at < 3 * kibibyte; at += kibibyte) read(at, kibibyte);
  for (std::size_t left = 3; left-- > 0;) {
    EXPECT_EQ(submit().size(), left);
    EXPECT_EQ(reap(), 1);
  }
  EXPECT_TRUE(all_answered(operations_, 1024));
}

// request.hpp: what waits for the outside world uses up nothing that the others need.
TEST_F(merging, polls_and_timeouts_are_not_counted) {
  open({.queue_depth = 1});
  below_.holds_transfers = true;
  for (int i = 0; i < 3; ++i) {
    add(operations_, {.op = opcode::poll, .fd = file_.get(), .flags = POLLIN});
    add(operations_, {.op = opcode::timeout, .offset = 1});
  }
  read(0, kibibyte);
  read(kibibyte, kibibyte);
  EXPECT_EQ(submit().size(), 1);
  EXPECT_EQ(below_.arrived.size(), 7);
  below_.holds_transfers = false;
  EXPECT_EQ(reap(), 7);
  EXPECT_EQ(submit().size(), 0);
  EXPECT_EQ(reap(), 1);
}

// Invariant 13
TEST_F(merging, waits_for_room_below) {
  open();
  below_.room = 1;
  for (const std::size_t at : {0uz, 1uz, 3uz, 5uz, 7uz}) read(at * kibibyte, kibibyte);
  EXPECT_EQ(submit().size(), 0);
  EXPECT_EQ(below_.arrived, words{"readv 0 + 1024 + 1024"});
  for (int rounds = 0; reap() != 0; ++rounds) ASSERT_LT(rounds, 10);
  EXPECT_TRUE(all_answered(operations_, 1024));
  EXPECT_EQ(below_.arrived.size(), 4);
}

// A loop that waits at fd() would not call again: what has to go again does so before reap returns.
TEST_F(merging, what_goes_again_does_so_in_the_same_reap) {
  open();
  read(100 * kibibyte, kibibyte);
  read(0, kibibyte);
  read(kibibyte, kibibyte);
  below_.answer = [&](const request& what) {
    if (what.op == opcode::readv) below_.holds_transfers = true;
    return what.op == opcode::readv ? -EIO : 1024;
  };
  submit();
  EXPECT_EQ(reap(), 1);
  EXPECT_EQ(below_.arrived.size(), 4);
  below_.holds_transfers = false;
  EXPECT_EQ(reap(), 2);
  EXPECT_TRUE(all_answered(operations_, 1024));
}

// driver.hpp: it blocks until there is something.
TEST_F(merging, a_wait_goes_on_until_a_part_has_finished) {
  open();
  read(0, kibibyte);
  read(kibibyte, kibibyte);
  below_.answer = [](const request& what) { return what.op == opcode::readv ? -EIO : 1024; };
  submit();
  EXPECT_EQ(reap(deadline::never()), 2);
  EXPECT_EQ(below_.waits, (std::vector{deadline::never(), deadline::never()}));
}

// Otherwise a context would sleep on what another thread has started.
TEST_F(merging, a_wake_ends_a_wait_that_goes_on_for_parts) {
  open();
  read(0, kibibyte);
  read(kibibyte, kibibyte);
  below_.answer = [&](const request& what) {
    below_.holds_transfers = true;
    driver_->wake();
    return what.op == opcode::readv ? -EIO : 1024;
  };
  submit();
  EXPECT_EQ(reap(deadline::never()), 0);
  EXPECT_EQ(below_.waits, (std::vector{deadline::never(), deadline::now()}));
  below_.holds_transfers = false;
  below_.answer = [](const request&) { return 1024; };
  EXPECT_EQ(reap(deadline::never()), 2);
  EXPECT_EQ(below_.waits.size(), 3);
  EXPECT_EQ(below_.waits.back(), deadline::never()) << "the wake had been answered";
}

TEST_F(merging, does_not_wait_where_something_has_been_withdrawn) {
  open();
  below_.room = 0;
  recorded& target = read(0, kibibyte);
  cancel(target);
  submit();
  EXPECT_EQ(reap(deadline::never()), 2);
  EXPECT_EQ(below_.waits, std::vector{deadline::now()});
}

// --- cancelling ----------------------------------------------------------------------------------

/// Three reads merged into one, which the driver below holds.
class merged_three : public merging {
 protected:
  void SetUp() override {
    open();
    below_.holds_transfers = true;
    for (std::uint64_t at = 0; at < 3 * kibibyte; at += kibibyte) read(at, kibibyte);
    submit();
    ASSERT_EQ(below_.arrived.size(), 1);
  }

  recorded& part(std::size_t number) { return *operations_[number]; }

  void finish() {
    below_.holds_transfers = below_.holds_cancels = false;
    while (reap() != 0) {
    }
  }
};

// Invariants 3 and 4
TEST_F(merged_three, cancelling_a_part_leaves_the_others_unharmed) {
  const recorded& request = cancel(part(1));
  submit();
  finish();
  EXPECT_TRUE(answered(request, 0));
  EXPECT_TRUE(answered(part(0), 1024));
  EXPECT_TRUE(answered(part(1), -ECANCELED));
  EXPECT_TRUE(answered(part(2), 1024));
  EXPECT_EQ(below_.arrived,
            (words{"readv 0 + 1024 + 1024 + 1024", "read 0 + 1024", "read 2048 + 1024"}));
}

// Invariant 4
TEST_F(merged_three, a_part_that_cannot_be_stopped_has_its_own_answer) {
  below_.can_stop = false;
  const recorded& request = cancel(part(1));
  submit();
  finish();
  EXPECT_TRUE(answered(request, -EALREADY));
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(answered(part(i), 1024));
  EXPECT_EQ(below_.arrived.size(), 1);
}

// Invariant 4: it ended early, but not for that.
TEST_F(merged_three, a_part_that_could_not_be_stopped_goes_again_if_it_has_to) {
  below_.can_stop = false;
  below_.answer = [](const weir::request& what) { return what.op == opcode::readv ? -EIO : 1024; };
  const recorded& request = cancel(part(1));
  submit();
  finish();
  EXPECT_TRUE(answered(request, -EALREADY));
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(answered(part(i), 1024));
}

TEST_F(merged_three, parts_may_be_cancelled_together) {
  for (std::size_t i = 0; i < 3; ++i) cancel(part(i));
  submit();
  EXPECT_EQ(below_.cancelled.size(), 1) << "one request for the transfer is enough";
  finish();
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(answered(part(i), -ECANCELED));
    EXPECT_TRUE(answered(*operations_[3 + i], 0));
  }
  EXPECT_EQ(below_.arrived.size(), 1);
}

TEST_F(merged_three, a_part_may_be_cancelled_twice) {
  cancel(part(1));
  cancel(part(1));
  submit();
  finish();
  EXPECT_TRUE(answered(part(1), -ECANCELED));
  for (std::size_t i : {3uz, 4uz}) EXPECT_TRUE(answered(*operations_[i], 0));
}

// Its memory must not be used again before the cancel has come back, which may look at it.
TEST_F(merged_three, waits_for_the_cancel_of_a_transfer_that_has_come_back) {
  below_.holds_cancels = true;
  const recorded& first = cancel(part(1));
  submit();
  EXPECT_EQ(reap(), 0);
  const recorded& second = cancel(part(2));
  submit();
  EXPECT_EQ(reap(), 0);
  EXPECT_EQ(below_.cancelled.size(), 1);
  finish();
  EXPECT_TRUE(answered(first, 0));
  EXPECT_TRUE(answered(second, 0));
  EXPECT_TRUE(answered(part(0), 1024));
  EXPECT_TRUE(answered(part(1), -ECANCELED));
  EXPECT_TRUE(answered(part(2), -ECANCELED));
}

TEST_F(merged_three, a_part_may_be_cancelled_when_another_could_not_be_stopped) {
  below_.can_stop = false;
  const recorded& first = cancel(part(1));
  submit();
  reap();
  EXPECT_TRUE(answered(first, -EALREADY));
  below_.can_stop = true;
  const recorded& second = cancel(part(2));
  submit();
  finish();
  EXPECT_TRUE(answered(second, 0));
  EXPECT_TRUE(answered(part(0), 1024));
  EXPECT_TRUE(answered(part(1), 1024));
  EXPECT_TRUE(answered(part(2), -ECANCELED));
}

TEST_F(merged_three, what_has_gone_again_is_cancelled_below) {
  below_.answer = [&](const weir::request& what) {
    below_.holds_transfers = true;
    return what.op == opcode::readv ? -EIO : 1024;
  };
  below_.holds_transfers = false;
  reap();
  ASSERT_EQ(below_.arrived.size(), 4);
  const recorded& request = cancel(part(1));
  submit();
  EXPECT_EQ(below_.cancelled, std::vector<operation*>{&part(1)});
  below_.answer = [](const weir::request&) { return 1024; };
  finish();
  EXPECT_TRUE(answered(request, 0));
  EXPECT_TRUE(answered(part(0), 1024));
  EXPECT_TRUE(answered(part(1), -ECANCELED));
  EXPECT_TRUE(answered(part(2), 1024));
}

// A context that shuts down wants nothing to be started again.
TEST_F(merged_three, cancelling_everything_leaves_nothing_to_go_again) {
  add(operations_, cancel_request_for_all());
  submit();
  finish();
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(answered(part(i), -ECANCELED));
  EXPECT_TRUE(answered(*operations_[3], 0));
  EXPECT_EQ(below_.arrived.size(), 1);
}

// Invariant 4
TEST_F(merged_three, cancelling_everything_reports_what_has_moved) {
  below_.can_stop = false;
  below_.answer = [](const weir::request&) { return 1500; };
  add(operations_, cancel_request_for_all());
  submit();
  finish();
  EXPECT_TRUE(answered(part(0), 1024));
  EXPECT_TRUE(answered(part(1), 476));
  EXPECT_TRUE(answered(part(2), -ECANCELED));
  EXPECT_EQ(below_.arrived.size(), 1);
}

TEST_F(merged_three, cancelling_a_files_operations_does_not_mean_anothers) {
  const descriptor other = make_file(directory_ / "other", 1 << 20);
  for (std::uint64_t at = 0; at < 2 * kibibyte; at += kibibyte) {
    read(at, kibibyte).args.fd = other.get();
  }
  submit();
  const recorded& request = add(operations_, cancel_request_for(file_.get()));
  submit();
  below_.answer = [](const weir::request& what) {
    return what.op == opcode::readv ? -EIO : static_cast<std::int32_t>(what.length);
  };
  finish();
  EXPECT_TRUE(answered(request, 0));
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(answered(part(i), -ECANCELED));
  for (std::size_t i = 3; i < 5; ++i) EXPECT_TRUE(answered(part(i), 1024));
}

TEST_F(merging, cancels_what_waits_for_room_below) {
  open();
  below_.room = 0;
  for (const std::uint64_t at : {0uz, kibibyte, 2 * kibibyte, 10 * kibibyte, 20 * kibibyte}) {
    read(at, kibibyte);
  }
  const recorded& of_merged = cancel(*operations_[1]);
  const recorded& of_lone = cancel(*operations_[3]);
  submit();
  EXPECT_TRUE(below_.cancelled.empty());
  below_.room = SIZE_MAX;
  reap();
  EXPECT_TRUE(answered(of_merged, 0));
  EXPECT_TRUE(answered(of_lone, 0));
  EXPECT_EQ(below_.arrived, (words{"read 20480 + 1024", "read 0 + 1024", "read 2048 + 1024"}));
  for (const std::size_t i : {1uz, 3uz}) EXPECT_TRUE(answered(*operations_[i], -ECANCELED));
  for (const std::size_t i : {0uz, 2uz, 4uz}) EXPECT_TRUE(answered(*operations_[i], 1024));
}

TEST_F(merging, cancels_everything_that_waits_for_room_below) {
  open();
  below_.room = 0;
  for (const std::uint64_t at : {0uz, kibibyte, 10 * kibibyte}) read(at, kibibyte);
  add(operations_, {.op = opcode::poll, .fd = file_.get(), .flags = POLLIN});
  add(operations_, cancel_request_for_all());
  submit();
  reap();
  for (std::size_t i = 0; i < 4; ++i) EXPECT_TRUE(answered(*operations_[i], -ECANCELED));
  EXPECT_TRUE(answered(*operations_[4], 0));
  EXPECT_TRUE(below_.arrived.empty());
}

// request.hpp: it takes back what was said of the memory, which may be another's soon.
TEST_F(merging, memory_is_forgotten_in_any_case) {
  open();
  below_.room = 0;
  recorded& forget = add(operations_, {.op = opcode::forget_memory, .address = memory_.data()});
  below_.answer = [](const request&) { return 0; };
  cancel(forget);
  add(operations_, cancel_request_for_all());
  submit();
  below_.room = SIZE_MAX;
  reap();
  EXPECT_EQ(below_.arrived.size(), 1);
  EXPECT_TRUE(answered(forget, 0));
}

TEST_F(merging, a_cancel_of_what_it_does_not_have_is_answered_below) {
  open();
  recorded elsewhere{request{}};
  const recorded& request = cancel(elsewhere);
  submit();
  reap();
  EXPECT_TRUE(answered(request, -ENOENT));
}

// --- on every driver -----------------------------------------------------------------------------

/// Sees to it that no transfer below exceeds the limits, and counts them.
class watching_driver final : public wrapping_driver {
 public:
  struct seen {
    std::size_t transfers = 0;
    std::size_t most_bytes = 0;
    std::size_t most_parts = 0;
  };

  watching_driver(std::unique_ptr<driver> inner, seen& log) noexcept
      : wrapping_driver(std::move(inner)), log_(log) {}

  void submit(operation_queue& staged) noexcept override {
    std::vector<const operation*> offered;
    staged.for_each([&](const operation& op) { offered.push_back(&op); });
    wrapping_driver::submit(staged);
    offered.resize(offered.size() - staged.size());
    for (const operation* op : offered) {
      if (!is_vectored(op->args.op)) continue;
      ++log_.transfers;
      log_.most_bytes = std::max(log_.most_bytes, bytes_of(op->args));
      log_.most_parts = std::max<std::size_t>(log_.most_parts, op->args.length);
    }
  }

 private:
  seen& log_;
};

class merging_over : public driver_test {
 protected:
  io_context& open(const merging_options& options, const driver_options& inner = {}) {
    auto watched = std::make_unique<watching_driver>(open_driver_named(GetParam(), inner), seen_);
    context_ = std::make_unique<io_context>(make_merging(std::move(watched), options).value());
    return *context_;
  }

  void run(const batch& operations) {
    start_all(*context_, operations);
    context_->run();
  }

  temp_directory directory_;
  watching_driver::seen seen_;
  std::unique_ptr<io_context> context_;
};

INSTANTIATE_TEST_SUITE_P(drivers, merging_over, ::testing::ValuesIn(driver_names), name_of_driver);

// I-T2: blocks of 1 KiB, so many, merged up to so many bytes: first those that have gaps between
// them, then adjacent ones, then those that fill the gaps; and read back in the same order.
TEST_P(merging_over, writes_and_reads_an_image_in_whatever_order) {
  constexpr std::array<std::pair<std::size_t, std::size_t>, 7> cases = {{{1024, 16 * kibibyte},
                                                                         {512, 16 * kibibyte},
                                                                         {256, 16 * kibibyte},
                                                                         {64, 64 * kibibyte},
                                                                         {64, 32 * kibibyte},
                                                                         {64, 16 * kibibyte},
                                                                         {64, kibibyte}}};
  for (const auto& [count, limit] : cases) {
    SCOPED_TRACE(std::to_string(count) + " blocks, at most " + std::to_string(limit) + " bytes");
    seen_ = {};
    open({.queue_depth = 128, .max_bytes = limit}, {.queue_depth = 128});
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < count / 2; i += 2) order.push_back(i);
    for (std::size_t i = count / 2; i < count; ++i) order.push_back(i);
    for (std::size_t i = 1; i < count / 2; i += 2) order.push_back(i);
    const descriptor file = make_file(directory_ / "file");
    std::vector<std::byte> written(count * kibibyte);
    std::vector<std::byte> read(written.size());
    fill(written, 0, static_cast<unsigned>(count));
    batch writes;
    batch reads;
    for (const std::size_t i : order) {
      const std::uint64_t at = i * kibibyte;
      add(writes, write_request(file.get(), std::span(written).subspan(at, kibibyte), at));
      add(reads, read_request(file.get(), std::span(read).subspan(at, kibibyte), at));
    }
    run(writes);
    run(reads);
    EXPECT_TRUE(all_answered(writes, kibibyte));
    EXPECT_TRUE(all_answered(reads, kibibyte));
    EXPECT_EQ(read, written);
    EXPECT_EQ(contents_of(directory_ / "file"), written);
    EXPECT_LE(seen_.most_bytes, limit);
    EXPECT_EQ(seen_.transfers == 0, limit == kibibyte);
  }
}

// I-D9: the predecessor wanted multiples of 512.
TEST_P(merging_over, merges_odd_lengths_without_copying) {
  constexpr std::size_t odd = 333;
  open({});
  const descriptor file = make_patterned_file(directory_ / "file", 100 * odd);
  std::vector<std::byte> read(100 * odd);
  batch reads;
  for (std::size_t i = 0; i < 100; ++i) {
    add(reads, read_request(file.get(), std::span(read).subspan(i * odd, odd), i * odd));
  }
  run(reads);
  EXPECT_TRUE(all_answered(reads, odd));
  EXPECT_TRUE(holds_pattern(read, 0));
  EXPECT_GE(seen_.transfers, 1);
}

// Invariant 32. Space that is not yet allocated, and more than a device takes at once: where the
// kernel is asked not to wait (Linux AIO), it moves only a part.
TEST_P(merging_over, moves_mebibytes_past_the_page_cache) {
  const descriptor direct = open_direct(directory_ / "file");
  if (!direct) GTEST_SKIP() << "the file system refuses O_DIRECT";
  constexpr std::size_t piece = 256 * kibibyte;
  open({.max_bytes = 8 << 20});
  buffer written(32 * piece);
  buffer read(written.size());
  fill(written.span(), 0);
  batch writes;
  batch reads;
  for (std::size_t at = 0; at < written.size(); at += piece) {
    add(writes, write_request(direct.get(), written.span().subspan(at, piece), at));
    add(reads, read_request(direct.get(), read.span().subspan(at, piece), at));
    writes.back()->args.hints = reads.back()->args.hints = hint::direct;
  }
  run(writes);
  run(reads);
  EXPECT_TRUE(all_answered(writes, piece));
  EXPECT_TRUE(all_answered(reads, piece));
  EXPECT_TRUE(std::ranges::equal(read.span(), written.span()));
  EXPECT_GE(seen_.transfers, 2);
}

// Invariants 2 and 3
TEST_P(merging_over, the_end_of_a_file_is_where_it_is) {
  open({});
  const descriptor file = make_patterned_file(directory_ / "file", 5 * kibibyte + 100);
  std::vector<std::byte> read(10 * kibibyte);
  batch reads;
  for (std::size_t at = 0; at < read.size(); at += kibibyte) {
    add(reads, read_request(file.get(), std::span(read).subspan(at, kibibyte), at));
  }
  run(reads);
  for (std::size_t i = 0; i < 10; ++i) {
    EXPECT_TRUE(answered(*reads[i], i < 5 ? 1024 : i == 5 ? 100 : 0)) << i;
  }
  EXPECT_TRUE(holds_pattern(std::span(read).first(5 * kibibyte + 100), 0));
}

// Invariant 3
TEST_P(merging_over, memory_that_is_not_there_fails_one_part_only) {
  open({});
  const descriptor file = make_patterned_file(directory_ / "file", 9 * kibibyte);
  for (const opcode op : {opcode::read, opcode::write}) {
    std::vector<std::byte> memory(9 * kibibyte);
    fill(memory, 0);
    batch transfers;
    for (std::size_t i = 0; i < 9; ++i) {
      void* const address = i % 3 == 1 ? nullptr : memory.data() + i * kibibyte;
      add(transfers, {.op = op,
                      .fd = file.get(),
                      .address = address,
                      .offset = i * kibibyte,
                      .length = kibibyte});
    }
    run(transfers);
    for (std::size_t i = 0; i < 9; ++i) {
      EXPECT_TRUE(answered(*transfers[i], i % 3 == 1 ? -EFAULT : 1024)) << i;
    }
    EXPECT_TRUE(holds_pattern(contents_of(directory_ / "file"), 0));
  }
}

// Invariants 3 and 19
TEST_P(merging_over, writes_beyond_a_limit_have_their_own_errors) {
  constexpr std::size_t limit = 5 * kibibyte + 100;
  const std::string path = directory_ / "file";
  const child_outcome outcome = run_in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit most{.rlim_cur = limit, .rlim_max = limit};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &most), 0);
    open({});
    const descriptor file = make_file(path);
    std::vector<std::byte> memory(10 * kibibyte);
    fill(memory, 0);
    batch writes;
    for (std::size_t at = 0; at < memory.size(); at += kibibyte) {
      add(writes, write_request(file.get(), std::span(memory).subspan(at, kibibyte), at));
    }
    run(writes);
    for (std::size_t i = 0; i < 10; ++i) {
      EXPECT_TRUE(answered(*writes[i], i < 5 ? 1024 : i == 5 ? 100 : -EFBIG)) << i;
    }
    EXPECT_GE(seen_.transfers, 1);
  });
  EXPECT_TRUE(outcome.succeeded()) << outcome;
  const auto now = contents_of(path);
  EXPECT_EQ(now.size(), limit);
  EXPECT_TRUE(holds_pattern(now, 0));
}

// Invariant 13. A loop that has only fd() to go by, and parts that go again through a queue of two.
TEST_P(merging_over, fd_shows_parts_that_go_again_through_a_small_queue) {
  io_context& context = open({.queue_depth = 64}, {.queue_depth = 2});
  const descriptor file = make_patterned_file(directory_ / "file", 200 * kibibyte);
  std::vector<std::byte> memory(200 * kibibyte);
  batch reads;
  std::size_t done = 0;
  for (std::size_t i = 0; i < 200; ++i) {
    add(reads, {.op = opcode::read,
                .fd = file.get(),
                .address = i % 20 == 7 ? nullptr : memory.data() + i * kibibyte,
                .offset = i * kibibyte,
                .length = kibibyte})
        .then = [&](recorded&) { ++done; };
  }
  static_cast<void>(context.fd());
  start_all(context, reads);
  context.flush();
  EXPECT_TRUE(poll_until(context, [&] { return done == reads.size(); }));
  context.run();
  for (std::size_t i = 0; i < 200; ++i) {
    EXPECT_TRUE(answered(*reads[i], i % 20 == 7 ? -EFAULT : 1024)) << i;
  }
}

// Invariant 4: whatever becomes of the transfer, a part and its cancel tell one story.
TEST_P(merging_over, cancelled_parts_have_been_written_whole_or_not_at_all) {
  io_context& context = open({.queue_depth = 64}, {.queue_depth = 64, .threads = 1});
  for (int round = 0; round < 20; ++round) {
    const descriptor file = make_file(directory_ / "file", 64 * block);
    std::vector<std::byte> memory(64 * block);
    fill(memory, 0);
    batch writes;
    batch cancels;
    for (std::size_t at = 0; at < memory.size(); at += block) {
      add(writes, write_request(file.get(), std::span(memory).subspan(at, block), at));
      if (at / block % 5 == 2) add(cancels, cancel_request(*writes.back()));
    }
    start_all(context, writes);
    if (innermost(GetParam()) != "sync") context.flush();
    start_all(context, cancels);
    context.run();
    const auto now = contents_of(directory_ / "file");
    for (std::size_t i = 0; i < writes.size(); ++i) {
      const auto part = std::span(now).subspan(i * block, block);
      const bool stopped = i % 5 == 2 && cancels[i / 5]->answer() == 0;
      EXPECT_TRUE(answered(*writes[i], stopped ? -ECANCELED : std::int32_t{block}));
      EXPECT_TRUE(stopped ? holds_only(part, std::byte{0}) : holds_pattern(part, i * block));
    }
  }
}

// Invariants 1 to 4 and 19. Random batches over a driver that cuts transfers short, fails them,
// holds them back and leaves them lying; some parts are cancelled. Whatever becomes of the merged
// ones, what a part says of itself is true.
TEST_P(merging_over, parts_tell_the_truth_whatever_happens_below) {
  constexpr std::size_t slots = 64;
  constexpr std::size_t slot = 512;
  std::mt19937 random(11);
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    faulty_options faults = lawful_faults(seed);
    faults.short_transfer = faults.io_error = faults.no_space = 0.1;
    faults.queue_depth = 16;
    auto below = make_faulty(open_driver_named(GetParam(), {.queue_depth = 16}), faults).value();
    io_context context(make_merging(std::move(below), {.queue_depth = slots}).value());
    const descriptor source = make_patterned_file(directory_ / "source", slots * slot);
    const descriptor target = make_file(directory_ / "target", slots * slot);
    for (int round = 0; round < 10; ++round) {
      ASSERT_EQ(::ftruncate(target.get(), 0), 0);
      ASSERT_EQ(::ftruncate(target.get(), slots * slot), 0);
      std::vector<std::byte> read(slots * slot);
      std::vector<std::byte> written(slots * slot);
      fill(written, 0, 5);
      std::array<std::size_t, slots> order;
      for (std::size_t i = 0; i < slots; ++i) order[i] = i;
      std::ranges::shuffle(order, random);
      batch reads;
      batch writes;
      batch cancels;
      for (const std::size_t i : std::span(order).first(1 + random() % slots)) {
        const std::uint64_t at = i * slot;
        add(reads, read_request(source.get(), std::span(read).subspan(at, slot), at));
        add(writes, write_request(target.get(), std::span(written).subspan(at, slot), at));
        if (random() % 8 == 0) add(cancels, cancel_request(*reads.back()));
        if (random() % 8 == 0) add(cancels, cancel_request(*writes.back()));
      }
      start_all(context, reads);
      start_all(context, writes);
      if (random() % 2 == 0) context.flush();
      start_all(context, cancels);
      context.run();
      const auto on_disk = contents_of(directory_ / "target");
      const auto is_lawful = [&](const recorded& op, std::initializer_list<int> errors) {
        const bool moved = op.answer() > 0 && op.answer() <= static_cast<int>(slot);
        return op.completions == 1 && (moved || std::ranges::count(errors, -op.answer()) == 1);
      };
      for (const auto& op : reads) {
        ASSERT_TRUE(is_lawful(*op, {EIO, ECANCELED})) << op->answer();
        const auto got = static_cast<std::size_t>(std::max(op->answer(), 0));
        ASSERT_TRUE(holds_pattern(std::span(read).subspan(op->args.offset, got), op->args.offset));
      }
      for (const auto& op : writes) {
        ASSERT_TRUE(is_lawful(*op, {EIO, ENOSPC, ECANCELED})) << op->answer();
        const auto put = static_cast<std::size_t>(std::max(op->answer(), 0));
        const std::uint64_t at = op->args.offset;
        ASSERT_TRUE(holds_pattern(std::span(on_disk).subspan(at, put), at, 5));
      }
      for (const auto& cancel : cancels) {
        const auto& named = *static_cast<const recorded*>(cancel->args.address);
        ASSERT_EQ(cancel->completions, 1);
        ASSERT_EQ(cancel->answer() == 0, named.answer() == -ECANCELED) << cancel->answer();
      }
    }
  }
}

}  // namespace
}  // namespace weir::testing
