// What the tests of weir's predecessors tested, under the names by which their list counts them,
// on every driver. I-T2 and I-T3 are in drivers/merging_test.cc, I-T7 in buffer_test.cc.

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "support/support.hpp"
#include "weir/future.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t block = 4096;

class predecessors : public driver_test {
 protected:
  io_context& context(unsigned queue_depth) {
    context_ = open_context(GetParam(), {.queue_depth = queue_depth});
    return *context_;
  }

  template <class Sender>
  auto wait_for(Sender sender) {
    auto wait = [&]() -> task<typename Sender::value_type> {
      co_return co_await std::move(sender);
    };
    return context_->run(wait());
  }

  /// O_DIRECT where the file system has it.
  file make(std::size_t size = 0) {
    make_patterned_file(path(), size);
    descriptor direct = open_direct(path());
    if (!direct) direct = open_file(path(), O_RDWR);
    return {*context_, direct.release()};
  }

  std::string path() const { return directory_ / "file"; }

  temp_directory directory_;
  std::unique_ptr<io_context> context_;
};

INSTANTIATE_TEST_SUITE_P(drivers, predecessors, ::testing::ValuesIn(driver_names), name_of_driver);

void randomize(std::span<std::byte> memory, std::mt19937_64& random) {
  for (std::byte& each : memory) each = static_cast<std::byte>(random());
}

// --- I: io-engine --------------------------------------------------------------------------------

TEST_P(predecessors, i_t1_read_write) {
  context(2);
  file f = make();
  buffer data(block);
  // I8: beyond the end, even at an offset that O_DIRECT would not take.
  EXPECT_EQ(wait_for(f.read_at(data.span(), 100)), 0U);
  std::mt19937_64 random(1);
  constexpr std::size_t blocks = 10;
  buffer written(blocks * block);
  buffer read(blocks * block);
  for (int round = 0; round < 100; ++round) {
    randomize(written.span(), random);
    auto all = [&]() -> task<> {
      std::vector<io_sender> writes;
      for (std::size_t i = 0; i < blocks; ++i) {
        writes.push_back(f.write_at(written.span().subspan(i * block, block), i * block));
      }
      for (const auto& n : co_await when_all(std::move(writes))) EXPECT_EQ(n, block);
      std::vector<io_sender> reads;
      for (std::size_t i = 0; i < blocks; ++i) {
        reads.push_back(f.read_at(read.span().subspan(i * block, block), i * block));
      }
      for (const auto& n : co_await when_all(std::move(reads))) EXPECT_EQ(n, block);
    };
    context_->run(all());
    ASSERT_EQ(std::memcmp(written.data(), read.data(), read.size()), 0);
  }
}

TEST_P(predecessors, i_t4_fallocate) {
  context(16);
  file f = make();
  const result<void> allocated = wait_for(f.allocate(0, block));
  if (error_of(allocated) == std::errc::operation_not_supported) {
    GTEST_SKIP() << "the file system of $TMPDIR or /var/tmp has no fallocate(2)";
  }
  ASSERT_TRUE(allocated.has_value());
  EXPECT_EQ(wait_for(f.stat())->size, block);
  const buffer data(block);
  EXPECT_EQ(wait_for(f.write_at(data.span(), 0)), block);
}

TEST_P(predecessors, i_t5_fsync) {
  context(16);
  file f = make(block);
  EXPECT_TRUE(wait_for(f.sync()).has_value());
  EXPECT_TRUE(wait_for(f.datasync()).has_value());
}

TEST_P(predecessors, i_t6_a_task_is_done_once_and_keeps_offset_and_buffer) {
  context(16);
  file f = make(block);
  recorded op(read_request(f.native_handle(), {}, 0));
  EXPECT_FALSE(op.in_flight());
  EXPECT_EQ(op.completions, 0);
  buffer data(block);
  op.args.address = data.data();
  op.args.length = data.size();
  const request asked = op.args;
  context_->start(op);
  EXPECT_TRUE(op.in_flight());
  context_->run();
  EXPECT_FALSE(op.in_flight());
  EXPECT_EQ(op.completions, 1);
  EXPECT_EQ(op.answer(), static_cast<int>(block));
  EXPECT_EQ(op.args, asked);
  // An errno makes its way there and back unchanged.
  op.set_answer(-EINTR);
  EXPECT_EQ(detail::to_result<std::size_t>(op.answer()).error(), std::errc::interrupted);
}

TEST_P(predecessors, i_t8_the_documents_example) {
  context(16);
  file f = make();
  workers one(1);
  std::atomic<bool> done = false;
  buffer data(block);
  data.data()[0] = std::byte{65};
  start(f.write_at(std::move(data), 0), one, [&](buffer_result written) {
    EXPECT_EQ(written.transferred, block);
    start(f.read_at(std::move(written.data), 0), one, [&](buffer_result read) {
      EXPECT_EQ(read.transferred, block);
      EXPECT_EQ(read.data.data()[0], std::byte{65});
      done = true;
      start(context_->schedule(), [](result<void>) {});
    });
  });
  drive_until(*context_, [&] { return done.load(); });
  context_->run();
}

// --- T: tokio-linux-aio --------------------------------------------------------------------------

TEST_P(predecessors, t_t1_create_and_drop) {
  const std::size_t descriptors = count_descriptors();
  const std::size_t threads = count_threads();
  context(10);
  context_.reset();
  EXPECT_EQ(count_descriptors(), descriptors);
  EXPECT_TRUE(eventually([&] { return count_threads() == threads; }));
}

TEST_P(predecessors, t_t2_read_block) {
  context(10);
  file f = make(512 * 1024);
  buffer_result read = wait_for(f.read_at(buffer(8192), 0));
  EXPECT_EQ(read.transferred, 8192U);
  EXPECT_TRUE(holds_pattern(read.data.span(), 0));
}

TEST_P(predecessors, t_t3_write_block) {
  context(2);
  file f = make(512 * 1024);
  buffer data(8192);
  fill(data.span(), 16384, 7);
  EXPECT_EQ(wait_for(f.write_at(std::move(data), 16384)).transferred, 8192U);
  const auto all = contents_of(path());
  EXPECT_TRUE(holds_pattern(std::span(all).first(16384), 0));
  EXPECT_TRUE(holds_pattern(std::span(all).subspan(16384, 8192), 16384, 7));
  EXPECT_TRUE(holds_pattern(std::span(all).subspan(24576), 24576));
}

TEST_P(predecessors, t_t4_write_block_sync_several_times) {
  context(2);
  file f = make(512 * 1024);
  auto all = [&]() -> task<> {
    std::vector<buffer> memory;
    std::vector<policy_sender> writes;
    constexpr std::array levels = {durability::none, durability::data, durability::full};
    for (std::size_t i = 0; i < levels.size(); ++i) {
      fill(memory.emplace_back(8192).span(), 0, static_cast<unsigned>(i + 1));
      writes.push_back(f.write_at(memory[i].span(), (i + 1) * 16384, {.sync = levels[i]}));
    }
    for (const auto& n : co_await when_all(std::move(writes))) EXPECT_EQ(n, 8192U);
  };
  context_->run(all());
  const auto contents = contents_of(path());
  for (unsigned i = 1; i <= 3; ++i) {
    EXPECT_TRUE(holds_pattern(std::span(contents).subspan(i * 16384, 8192), 0, i));
  }
}

TEST_P(predecessors, t_t5_invalid_file_descriptor) {
  context(10);
  ASSERT_FALSE(is_open(2431));
  file f(*context_, 2431);
  const buffer_result read = wait_for(f.read_at(buffer(block), 0));
  EXPECT_EQ(read.transferred.error(), std::errc::bad_file_descriptor);
  EXPECT_EQ(read.data.size(), block);
}

TEST_P(predecessors, t_t6_read_past_the_end) {
  context(10);
  file f = make(512 * 1024);
  EXPECT_EQ(wait_for(f.read_at(buffer(block), 1'000'000 / block * block)).transferred, 0U);
  EXPECT_EQ(wait_for(f.read_exactly_at(buffer(block).span(), 1 << 20)).error(), errc::short_read);
}

TEST_P(predecessors, t_t7_read_many_blocks_from_many_threads) {
  constexpr int threads = 5;
  constexpr int waves = thread_sanitizer ? 10 : 50;
  constexpr int reads = 100;
  make_patterned_file(path(), 512 * 1024);
  io_thread owner({.name = GetParam(), .queue_depth = 7});
  file f = std::move(*as_future(open(owner.context(), path())).get());
  std::vector<std::jthread> readers;
  std::atomic<int> right = 0;
  for (int number = 0; number < threads; ++number) {
    readers.emplace_back([&, number] {
      std::mt19937 random(static_cast<unsigned>(number));
      for (int wave = 0; wave < waves; ++wave) {
        std::vector<std::uint64_t> offsets;
        std::vector<std::future<buffer_result>> pending;
        for (int i = 0; i < reads; ++i) {
          offsets.push_back(random() % 64 * 8192);
          pending.push_back(as_future(f.read_at(buffer(8192), offsets.back())));
        }
        for (int i = 0; i < reads; ++i) {
          const buffer_result read = pending[static_cast<std::size_t>(i)].get();
          if (read.transferred == 8192U &&
              holds_pattern(read.data.span(), offsets[static_cast<std::size_t>(i)])) {
            ++right;
          }
        }
      }
    });
  }
  readers.clear();
  EXPECT_EQ(right, threads * waves * reads);
  std::promise<std::size_t> left;
  start(owner.context().schedule(),
        [&](result<void>) { left.set_value(owner.context().outstanding()); });
  EXPECT_EQ(left.get_future().get(), 0U);  // the whole capacity is back
  EXPECT_TRUE(as_future(f.close()).get().has_value());
}

TEST_P(predecessors, t_t8_mixed_read_write_chains_hand_their_buffer_on) {
  context(7);
  file f = make(512 * 1024);
  auto chain = [&](std::uint64_t base, unsigned seed) -> task<bool> {
    buffer data(8192);
    bool right = true;
    auto read = [&](std::uint64_t at) { return f.read_at(std::move(data), base + at); };
    auto write = [&](std::uint64_t at) { return f.write_at(std::move(data), base + at); };
    for (int step = 0; step < 2; ++step) {
      const std::uint64_t at = static_cast<std::uint64_t>(step) * 16384;
      buffer_result r = co_await read(at);
      data = std::move(r.data);
      right = right && r.transferred == 8192U && holds_pattern(data.span(), base + at);
      fill(data.span(), base + at, seed);
      buffer_result w = co_await write(at + 8192);
      data = std::move(w.data);
      right = right && w.transferred == 8192U;
    }
    for (int step = 0; step < 2; ++step) {
      const std::uint64_t at = static_cast<std::uint64_t>(step) * 16384;
      buffer_result r = co_await read(at + 8192);
      data = std::move(r.data);
      right = right && r.transferred == 8192U && holds_pattern(data.span(), base + at, seed);
    }
    co_return right;
  };
  auto all = [&]() -> task<bool> {
    auto [a, b, c] = co_await when_all(chain(0, 1), chain(65536, 2), chain(131072, 3));
    co_return a&& b&& c;
  };
  EXPECT_TRUE(context_->run(all()));
}

TEST_P(predecessors, t_t9_an_eventfd_counts_or_ticks_and_wakes_its_reader) {
  context(7);
  const auto value_of = [&](int flags) {
    file f(*context_, ::eventfd(2, EFD_CLOEXEC | flags));
    std::uint64_t value = 0;
    EXPECT_EQ(wait_for(f.read_at(std::as_writable_bytes(std::span(&value, 1)), 0)), 8U);
    return value;
  };
  EXPECT_EQ(value_of(0), 2U);
  EXPECT_EQ(value_of(EFD_SEMAPHORE), 1U);
  if (GetParam() == "sync") return;  // it would read before it writes, and wait for ever
  file f(*context_, ::eventfd(0, EFD_CLOEXEC));
  std::uint64_t value = 0;
  const std::uint64_t three = 3;
  auto both = [&]() -> task<> {
    auto [read, written] =
        co_await when_all(f.read_at(std::as_writable_bytes(std::span(&value, 1)), 0),
                          f.write_at(std::as_bytes(std::span(&three, 1)), 0));
    EXPECT_EQ(read, 8U);
    EXPECT_EQ(written, 8U);
  };
  context_->run(both());
  EXPECT_EQ(value, 3U);
}

}  // namespace
}  // namespace weir::testing
