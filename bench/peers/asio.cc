#include "peers/peers.hpp"

#if WEIR_BENCH_ASIO

// Its files need io_uring; without epoll, io_uring is also what its loop waits on, which is the way
// that is quickest for files.
#define ASIO_HAS_IO_URING 1
#define ASIO_DISABLE_EPOLL 1

#include <unistd.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/random_access_file.hpp>
#include <asio/use_awaitable.hpp>

namespace weir::bench {
namespace {

class asio_reader {
 public:
  explicit asio_reader(const workload& work);
  void operator()(std::uint64_t operations);

 private:
  asio::awaitable<void> read_on(std::byte* memory);

  workload work_;
  places places_;
  blocks memory_;
  asio::io_context context_{1};
  std::vector<asio::random_access_file> files_;
  std::uint64_t left_ = 0;
};

asio_reader::asio_reader(const workload& work) : work_(work), places_(work), memory_(work) {
  for (const int each : work.files) files_.emplace_back(context_, checked("dup", ::dup(each)));
}

asio::awaitable<void> asio_reader::read_on(std::byte* memory) {
  while (left_ > 0) {
    --left_;
    const place where = places_.next();
    const std::size_t moved = co_await files_[where.file].async_read_some_at(
        where.offset, asio::buffer(memory, work_.block), asio::use_awaitable);
    expect_whole("Asio", static_cast<long long>(moved), work_.block);
  }
}

void asio_reader::operator()(std::uint64_t operations) {
  left_ = operations;
  for (unsigned slot = 0; slot < work_.depth; ++slot) {
    asio::co_spawn(context_, read_on(memory_[slot]), [](const std::exception_ptr& thrown) {
      if (thrown) std::rethrow_exception(thrown);
    });
  }
  context_.restart();
  context_.run();
}

}  // namespace

contestant asio_files(const workload& work, timed_by by, preparation before) {
  auto made = std::make_shared<asio_reader>(work);
  return in_process(
      "Asio coroutines", by, [made](std::uint64_t operations) { (*made)(operations); },
      std::move(before));
}

}  // namespace weir::bench

#else

namespace weir::bench {

contestant asio_files(const workload&, timed_by, preparation) {
  return absent("Asio", "libasio-dev was not there when this was built.");
}

}  // namespace weir::bench

#endif
