// Invariant 11: nothing is allocated per operation. Every `new` of this program is counted.

#include <fcntl.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

#include "support/support.hpp"

namespace {

std::atomic<std::size_t> allocations = 0;

void* counted(std::size_t size, std::size_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  // aligned_alloc wants a size that is a multiple of the alignment.
  const std::size_t rounded = (size + alignment - 1) / alignment * alignment;
  void* memory = alignment <= alignof(std::max_align_t) ? std::malloc(size != 0 ? size : 1)
                                                        : std::aligned_alloc(alignment, rounded);
  if (memory == nullptr) throw std::bad_alloc{};
  return memory;
}

}  // namespace

// What these free they have allocated, which the compiler cannot see once it has inlined one of
// them.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

void* operator new(std::size_t size) { return counted(size, 1); }
void* operator new[](std::size_t size) { return counted(size, 1); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace weir::testing {
namespace {

constexpr std::size_t block = 4096;

class allocation : public driver_test {
 protected:
  void SetUp() override {
    driver_test::SetUp();
    if (IsSkipped()) return;
    // One thread: how many a pool has come to is its own affair, and each is allocated.
    context_ = open_context(GetParam(), {.queue_depth = 32, .threads = 1});
    make_patterned_file(directory_ / "file", 64 * block);
    direct_ = open_direct(directory_ / "file");
    buffered_ = open_file(directory_ / "file", O_RDWR);
  }

  io_context& context() { return *context_; }

  /// How many allocations the second and later runs of `work` make.
  template <class Work>
  static std::size_t allocations_of(Work work) {
    work();
    work();
    const std::size_t before = allocations;
    for (int i = 0; i < 5; ++i) work();
    return allocations - before;
  }

  temp_directory directory_;
  std::unique_ptr<io_context> context_;
  descriptor direct_;
  descriptor buffered_;
  buffer memory_{64 * block};
};

INSTANTIATE_TEST_SUITE_P(drivers, allocation, ::testing::ValuesIn(driver_names_and_wrapped),
                         name_of_driver);

// Else every test below would pass.
TEST_P(allocation, is_counted) {
  // Not by new-expressions, which a compiler may leave out.
  EXPECT_EQ(allocations_of([] { ::operator delete(::operator new(1)); }), 5);
}

TEST_P(allocation, is_not_needed_for_operations) {
  batch operations;
  for (std::size_t i = 0; i < 64; ++i) {
    const auto part = memory_.span().subspan(i * block, block);
    add(operations, read_request(buffered_.get(), part, i * block));
    add(operations, write_request(buffered_.get(), part, i * block));
    add(operations, {.op = opcode::nop});
    add(operations, {.op = opcode::fdatasync, .fd = i == 0 ? buffered_.get() : -1});
    if (!direct_) continue;
    request what = read_request(direct_.get(), part, i * block);
    what.hints = hint::direct;
    add(operations, what);
  }
  EXPECT_EQ(allocations_of([&] {
              start_all(context(), operations);
              context().run();
            }),
            0);
}

TEST_P(allocation, is_not_needed_to_cancel) {
  batch operations;
  batch cancels;
  for (int i = 0; i < 100; ++i) add(cancels, cancel_request(add(operations, {})));
  EXPECT_EQ(allocations_of([&] {
              start_all(context(), operations);
              context().flush();
              start_all(context(), cancels);
              context().run();
            }),
            0);
}

// The memory of what is waited for grows to what there was at once, and stays.
TEST_P(allocation, is_not_needed_to_wait_for_readiness_and_time) {
  const pipe_ends pipe = make_pipe();
  pipe.feed(1);
  batch waits;
  batch cancels;
  for (int i = 0; i < 100; ++i) {
    add(waits, {.op = opcode::poll, .fd = pipe.read.get(), .flags = POLLIN});
    add(waits, {.op = opcode::poll, .fd = pipe.write.get(), .flags = POLLOUT});
    add(waits, {.op = opcode::timeout, .offset = 1});
    add(cancels, cancel_request(add(waits, {.op = opcode::timeout, .offset = INT64_MAX})));
    add(cancels, cancel_request(add(waits, {.op = opcode::poll, .fd = pipe.write.get()})));
  }
  EXPECT_EQ(allocations_of([&] {
              start_all(context(), waits);
              context().flush();
              start_all(context(), cancels);
              context().run();
            }),
            0);
}

TEST_P(allocation, is_not_needed_to_await) {
  file buffered(context(), buffered_.release());
  std::array<std::byte, block> memory{};
  auto count = [&]() -> task<std::size_t> {
    std::size_t before = 0;
    for (std::size_t i = 0; i < 300; ++i) {
      if (i == 100) before = allocations;
      const std::uint64_t offset = i % 64 * block;
      const result<std::size_t> read = co_await buffered.read_at(std::span(memory), offset);
      EXPECT_EQ(read, block);
      const std::span<const std::byte> bytes(memory);
      const result<std::size_t> written = co_await buffered.write_at(bytes, offset);
      EXPECT_EQ(written, block);
      const transfer_result whole = co_await buffered.read_exactly_at(memory, offset);
      EXPECT_EQ(whole, block);
      const transfer_result all = co_await buffered.write_all_at(memory, offset);
      EXPECT_EQ(all, block);
      const result<file_status> status = co_await buffered.stat();
      EXPECT_TRUE(status.has_value());
      const result<void> scheduled = co_await context().schedule();
      EXPECT_TRUE(scheduled.has_value());
    }
    co_return allocations - before;
  };
  EXPECT_EQ(context().run(count()), 0);
}

TEST_P(allocation, is_not_needed_for_a_buffer_to_travel) {
  file buffered(context(), buffered_.release());
  auto count = [&]() -> task<std::size_t> {
    buffer travelling(block);
    std::size_t before = 0;
    for (std::size_t i = 0; i < 300; ++i) {
      if (i == 100) before = allocations;
      buffer_result back = co_await buffered.read_at(std::move(travelling), i % 64 * block);
      EXPECT_EQ(back.transferred, block);
      travelling = std::move(back.data);
    }
    co_return allocations - before;
  };
  EXPECT_EQ(context().run(count()), 0);
}

TEST_P(allocation, is_not_needed_to_wait_for_a_pools_buffer) {
  buffer_pool pool(context(), block, 1);
  file buffered(context(), buffered_.release());
  std::size_t counted = 0;
  // Two that share one buffer: each waits for the other's.
  auto share = [&]() -> task<> {
    std::size_t before = 0;
    for (std::size_t i = 0; i < 300; ++i) {
      if (i == 100) before = allocations;
      result<buffer> memory = co_await pool.take();
      const buffer_result read = co_await buffered.read_at(*std::move(memory), i % 64 * block);
      EXPECT_EQ(read.transferred, block);
      if (i == 299) counted += allocations - before;
    }
  };
  auto both = [&]() -> task<> { co_await when_all(share(), share()); };
  context().run(both());
  EXPECT_EQ(counted, 0);
}

}  // namespace
}  // namespace weir::testing
