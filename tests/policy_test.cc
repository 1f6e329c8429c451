// Policies of one transfer (`io_options`), what becomes of them where the system has them not, and
// what a file makes of a sync that failed.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <optional>
#include <vector>

#include "kernel_abi.hpp"
#include "support/support.hpp"

namespace weir::testing {
namespace {

/// Shows each operation on its way to the driver, and may answer in its place.
class observed_driver final : public wrapping_driver {
 public:
  using observer = std::function<std::optional<std::int32_t>(const request&)>;

  observed_driver(std::unique_ptr<driver> inner, observer see)
      : wrapping_driver(std::move(inner)), see_(std::move(see)) {}

  void submit(operation_queue& staged) noexcept override {
    operation_queue passed;
    while (!staged.empty()) {
      operation& op = staged.pop_front();
      if (const auto answer = see_(op.args)) {
        op.set_answer(*answer);
        answered_.push_back(op);
      } else {
        passed.push_back(op);
      }
    }
    wrapping_driver::submit(passed);
    staged = std::move(passed);
  }

  void reap(operation_queue& completed, deadline until) noexcept override {
    const bool some = !answered_.empty();
    completed.append(std::move(answered_));
    wrapping_driver::reap(completed, some ? deadline::now() : until);
  }

 private:
  observer see_;
  operation_queue answered_;
};

class policy : public driver_test {
 protected:
  template <class Sender>
  auto wait_for(Sender sender) {
    auto wait = [&]() -> task<typename Sender::value_type> {
      co_return co_await std::move(sender);
    };
    return context_->run(wait());
  }

  /// From now on: what was asked for, and which of it is answered without being carried out.
  void observe(observed_driver::observer answer_instead) {
    context_ = std::make_unique<io_context>(std::make_unique<observed_driver>(
        open_driver_named(GetParam()), [this, answer_instead](const request& what) {
          asked_.push_back(what);
          return answer_instead(what);
        }));
  }

  std::vector<opcode> opcodes_asked() const {
    std::vector<opcode> all;
    for (const request& what : asked_) all.push_back(what.op);
    return all;
  }

  file make(std::size_t size) {
    return {*context_, make_patterned_file(directory_ / "file", size).release()};
  }

  static std::optional<std::int32_t> carry_out(const request&) { return std::nullopt; }

  temp_directory directory_;
  std::vector<request> asked_;
  std::unique_ptr<io_context> context_ = open_context(GetParam());
};

INSTANTIATE_TEST_SUITE_P(drivers, policy, ::testing::ValuesIn(driver_names), name_of_driver);

std::size_t cached_pages(int fd, std::size_t size) {
  void* at = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  EXPECT_NE(at, MAP_FAILED);
  std::vector<unsigned char> resident((size + 4095) / 4096);
  EXPECT_EQ(::mincore(at, size, resident.data()), 0);
  ::munmap(at, size);
  std::size_t count = 0;
  for (const unsigned char page : resident) count += page & 1U;
  return count;
}

// --- handed to the system ------------------------------------------------------------------------

TEST_P(policy, becomes_the_flags_of_the_transfer) {
  observe(carry_out);
  file f = make(8192);
  std::array<std::byte, 4096> memory{};
  const std::array<iovec, 1> vector{{{memory.data(), memory.size()}}};
  EXPECT_EQ(wait_for(f.write_at(memory, 0, {.sync = durability::data})), 4096U);
  EXPECT_EQ(wait_for(f.writev_at(vector, 0, {.sync = durability::full})), 4096U);
  EXPECT_EQ(wait_for(f.read_at(std::span(memory), 0, {.nowait = true})), 4096U);
  EXPECT_EQ(wait_for(f.write_all_at(memory, 0, {.sync = durability::data})), 4096U);
  ASSERT_EQ(asked_.size(), 4U);
  EXPECT_EQ(asked_[0].flags, unsigned{RWF_DSYNC});
  EXPECT_EQ(asked_[1].flags, unsigned{RWF_SYNC});
  EXPECT_EQ(asked_[2].flags, unsigned{RWF_NOWAIT});
  EXPECT_EQ(asked_[3].flags, unsigned{RWF_DSYNC});
}

TEST_P(policy, of_priority_is_carried_out) {
  observe(carry_out);
  file f = make(4096);
  std::array<std::byte, 4096> memory{};
  constexpr std::uint16_t idle = 3 << 13;
  EXPECT_EQ(wait_for(f.read_at(std::span(memory), 0, {.priority = idle})), 4096U);
  EXPECT_EQ(asked_.at(0).priority, idle);
  // The thread's own is as it was.
  EXPECT_EQ(wait_for(f.read_at(std::span(memory), 0)), 4096U);
  // There is no class 7: an error on this operation alone.
  constexpr std::uint16_t nonsense = 7 << 13;
  EXPECT_EQ(error_of(wait_for(f.read_at(std::span(memory), 0, {.priority = nonsense}))),
            std::errc::invalid_argument);
}

TEST_P(policy, of_not_waiting_answers_eagain_for_what_is_not_in_memory) {
  file f = make(1 << 20);
  if (wait_for(f.capabilities())->nowait != support::native) {
    GTEST_SKIP() << "the file system of $TMPDIR or /var/tmp has no RWF_NOWAIT";
  }
  ASSERT_TRUE(wait_for(f.sync()).has_value());
  std::array<std::byte, 4096> memory{};
  bool missed = false;
  for (int attempt = 0; attempt < 100 && !missed; ++attempt) {
    ASSERT_TRUE(wait_for(f.advise(0, 0, POSIX_FADV_DONTNEED)).has_value());
    const auto n = wait_for(f.read_at(std::span(memory), 512 * 1024, {.nowait = true}));
    missed = error_of(n) == std::errc::resource_unavailable_try_again;
    EXPECT_TRUE(missed || n == 4096U);
  }
  EXPECT_TRUE(missed);
}

TEST_P(policy, of_atomic_writes_is_refused_or_real) {
  file f = make(65536);
  const file_capabilities can = wait_for(f.capabilities()).value();
  std::array<std::byte, 4096> memory{};
  const auto written = wait_for(f.write_at(memory, 0, {.atomic = true}));
  if (can.atomic == support::native && can.atomic_write_min <= 4096) {
    EXPECT_EQ(written, 4096U);
  } else {
    EXPECT_TRUE(error_of(written) == std::errc::operation_not_supported ||
                error_of(written) == std::errc::invalid_argument)
        << error_of(written);
    EXPECT_EQ(can.atomic_write_max, 0U);
  }
}

// --- dropping the cache --------------------------------------------------------------------------

TEST_P(policy, of_dropping_leaves_the_page_cache_as_it_was) {
  file f = make(0);
  constexpr std::size_t size = 1 << 20;
  std::vector<std::byte> memory(size);
  fill(memory, 0);
  EXPECT_EQ(wait_for(f.write_all_at(memory, 0, {.drop_cache = true})), size);
  // The kernel drops what it has written back, which it may still be at.
  ASSERT_TRUE(wait_for(f.sync()).has_value());
  EXPECT_TRUE(eventually([&] { return cached_pages(f.native_handle(), size) <= size / 4096 / 10; }))
      << cached_pages(f.native_handle(), size) << " pages";
  EXPECT_EQ(wait_for(f.read_exactly_at(memory, 0, {.drop_cache = true})), size);
  EXPECT_TRUE(holds_pattern(memory, 0));
  EXPECT_TRUE(eventually([&] { return cached_pages(f.native_handle(), size) <= size / 4096 / 10; }))
      << cached_pages(f.native_handle(), size) << " pages";
}

std::optional<std::int32_t> refuse_dontcache(const request& what) {
  if ((what.flags & detail::rwf_dontcache) != 0 && what.op <= opcode::writev) return -EOPNOTSUPP;
  return std::nullopt;
}

TEST_P(policy, of_dropping_is_done_by_hand_where_the_file_system_does_not) {
  observe(refuse_dontcache);
  file f = make(0);
  std::array<std::byte, 8192> memory{};
  fill(memory, 0);
  EXPECT_EQ(wait_for(f.write_at(memory, 0, {.drop_cache = true})), 8192U);
  EXPECT_EQ(opcodes_asked(),
            (std::vector{opcode::write, opcode::write, opcode::sync_file_range, opcode::fadvise}));
  EXPECT_EQ(asked_[2].length, 8192U);
  EXPECT_EQ(cached_pages(f.native_handle(), 8192), 0U);
  asked_.clear();
  // It has learned, and does not ask again.
  EXPECT_EQ(wait_for(f.read_at(buffer(8192), 0, {.drop_cache = true})).transferred, 8192U);
  EXPECT_EQ(opcodes_asked(), (std::vector{opcode::read, opcode::fadvise}));
  EXPECT_EQ(cached_pages(f.native_handle(), 8192), 0U);
  EXPECT_EQ(wait_for(f.capabilities())->drop_cache, support::degraded);
}

TEST_P(policy, of_dropping_by_hand_reports_what_could_not_be_written_back) {
  observe([](const request& what) {
    return what.op == opcode::sync_file_range ? -EIO : refuse_dontcache(what);
  });
  file f = make(0);
  std::array<std::byte, 4096> memory{};
  EXPECT_EQ(error_of(wait_for(f.write_at(memory, 0, {.drop_cache = true}))), std::errc::io_error);
}

TEST_P(policy, of_dropping_is_nothing_to_a_pipe) {
  const pipe_ends pipe = make_pipe();
  file in(*context_, ::dup(pipe.write.get()));
  file out(*context_, ::dup(pipe.read.get()));
  std::array<std::byte, 16> memory{};
  fill(memory, 0);
  EXPECT_EQ(wait_for(in.write_at(memory, 0, {.drop_cache = true})), 16U);
  memory = {};
  EXPECT_EQ(wait_for(out.read_at(std::span(memory), 0, {.drop_cache = true})), 16U);
  EXPECT_TRUE(holds_pattern(memory, 0));
}

// --- a sync that failed --------------------------------------------------------------------------

// Invariant 17
TEST_P(policy, of_a_failed_sync_is_to_say_so_for_good) {
  int syncs = 0;
  observe([&](const request& what) -> std::optional<std::int32_t> {
    if (what.op == opcode::fsync || what.op == opcode::fdatasync) {
      if (++syncs == 2) return -EIO;
    }
    return std::nullopt;
  });
  file f = make(4096);
  EXPECT_TRUE(wait_for(f.sync()).has_value());
  EXPECT_EQ(error_of(wait_for(f.datasync())), std::errc::io_error);
  EXPECT_EQ(error_of(wait_for(f.sync())), std::errc::io_error);
  EXPECT_EQ(error_of(wait_for(f.datasync())), std::errc::io_error);
  EXPECT_EQ(syncs, 2);
  // Another file of the same name has lost nothing that it knows of.
  file g(*context_, open_file(directory_ / "file", O_RDWR).release());
  EXPECT_TRUE(wait_for(g.sync()).has_value());
}

TEST_P(policy, of_a_sync_that_was_only_refused_is_to_try_again) {
  bool refuse = true;
  observe([&](const request& what) -> std::optional<std::int32_t> {
    if (what.op == opcode::fsync && std::exchange(refuse, false)) return -ECANCELED;
    return std::nullopt;
  });
  file f = make(4096);
  EXPECT_EQ(error_of(wait_for(f.sync())), std::errc::operation_canceled);
  EXPECT_TRUE(wait_for(f.sync()).has_value());
}

// --- what a file can do --------------------------------------------------------------------------

TEST_P(policy, is_foretold_by_the_files_capabilities) {
  file f = make(4096);
  const auto can = wait_for(f.capabilities());
  ASSERT_TRUE(can.has_value());
  EXPECT_EQ(can->sync, support::native);
  std::array<std::byte, 4096> memory{};
  const bool nowait = wait_for(f.read_at(std::span(memory), 0, {.nowait = true})).has_value();
  EXPECT_EQ(can->nowait == support::native, nowait);
  const iovec vector{memory.data(), memory.size()};
  const bool dontcache =
      ::preadv2(f.native_handle(), &vector, 1, 0, static_cast<int>(detail::rwf_dontcache)) >= 0;
  EXPECT_EQ(can->drop_cache, dontcache ? support::native : support::degraded);
}

TEST_P(policy, that_cannot_be_found_out_is_called_unknown) {
  make(4096);
  file f(*context_, open_file(directory_ / "file", O_WRONLY).release());
  const auto can = wait_for(f.capabilities());
  ASSERT_TRUE(can.has_value());
  EXPECT_EQ(can->nowait, support::unknown);
  EXPECT_EQ(can->drop_cache, support::unknown);
  EXPECT_EQ(error_of(wait_for(file{}.capabilities())), std::errc::bad_file_descriptor);
}

// --- the other methods ---------------------------------------------------------------------------

TEST_P(policy, aside_a_file_punches_holes_and_keeps_attributes) {
  file f = make(65536);
  const auto punched = wait_for(f.allocate(4096, 4096, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE));
  if (punched) {
    std::array<std::byte, 4096> memory{};
    EXPECT_EQ(wait_for(f.read_at(std::span(memory), 4096)), 4096U);
    EXPECT_TRUE(holds_only(memory, std::byte{0}));
  } else {
    EXPECT_EQ(punched.error(), std::errc::operation_not_supported);
  }
  std::array<std::byte, 3> value{};
  fill(value, 0);
  const auto set = wait_for(f.set_attribute("user.weir", value));
  if (!set) {
    EXPECT_EQ(set.error(), std::errc::operation_not_supported);
    return;
  }
  std::array<std::byte, 16> got{};
  EXPECT_EQ(wait_for(f.get_attribute("user.weir", {})), 3U);
  EXPECT_EQ(wait_for(f.get_attribute("user.weir", got)), 3U);
  EXPECT_TRUE(holds_pattern(std::span(got).first(3), 0));
  EXPECT_EQ(error_of(wait_for(f.get_attribute("user.other", got))),
            std::errc::no_message_available);
}

TEST_P(policy, of_resolving_keeps_a_path_beneath_its_directory) {
  make(1);
  file directory(*context_, open_file(directory_.path(), O_RDONLY | O_DIRECTORY).release());
  open_options options{.resolve = resolve::beneath, .directory = directory.native_handle()};
  EXPECT_TRUE(wait_for(open(*context_, "file", options)).has_value());
  EXPECT_EQ(error_of(wait_for(open(*context_, "../etc", options))), std::errc::cross_device_link);
  EXPECT_EQ(error_of(wait_for(open(*context_, "/etc/passwd", options))),
            std::errc::cross_device_link);
}

}  // namespace
}  // namespace weir::testing
