// A stream that is written in pieces of any size, while the file takes others, beside a string.

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "support/stream_file.hpp"
#include "weir/weir.hpp"

namespace {

using weir::fuzzing::promise;
using weir::testing::choices;

constexpr std::size_t file_most = 20'000;
constexpr std::size_t piece_most = 10'000;
constexpr int steps_most = 48;

/// Writes, and knows what has to be there.
class writing {
 public:
  writing(choices& by, weir::writer& out) : by_(by), out_(out) {}

  weir::task<> step() {
    switch (by_.below(4)) {
      case 0:
        co_return co_await put_into_room();
      case 1:
        co_return co_await flush();
      default:
        co_return co_await write();
    }
  }

  weir::task<> close() { learn(co_await out_.close()); }

  const std::string& accepted() const { return accepted_; }
  bool failed() const { return failed_; }

 private:
  // Once something has failed, it stays so.
  template <class Result>
  void learn(const Result& outcome) {
    promise(!outcome.has_value() || !failed_);
    if (outcome.has_value()) return;
    promise(outcome.error() == std::errc::io_error ||
            outcome.error() == std::errc::no_space_on_device);
    failed_ = true;
  }

  weir::task<> write() {
    const std::string piece(by_.below(piece_most), static_cast<char>('a' + by_.below(26)));
    const auto moved = co_await out_.write(std::as_bytes(std::span(piece)));
    learn(moved);
    promise(moved.transferred <= piece.size());
    promise(!moved || moved.transferred == piece.size());
    accepted_.append(piece, 0, moved.transferred);
  }

  weir::task<> put_into_room() {
    const auto room = co_await out_.room();
    learn(room);
    if (!room) co_return;
    promise(!room->empty());
    const std::size_t count = by_.below(room->size() + 1);
    std::ranges::fill(room->first(count), std::byte{'R'});
    out_.produce(count);
    accepted_.append(count, 'R');
  }

  weir::task<> flush() {
    const auto flushed = co_await out_.flush();
    learn(flushed);
    promise(!flushed || out_.written() == accepted_.size());
  }

  choices& by_;
  weir::writer& out_;
  std::string accepted_;
  bool failed_ = false;
};

std::string with(std::string before, std::size_t at, std::string_view bytes) {
  if (!bytes.empty()) before.resize(std::max(before.size(), at + bytes.size()));
  return before.replace(at, std::min(bytes.size(), before.size() - at), bytes);
}

weir::task<> write_all(choices& by, weir::io_context& context) {
  const std::string before = weir::fuzzing::text_by(by, file_most);
  const weir::fuzzing::stream_file file(before);
  const bool appends = by.one_in(4);
  const std::size_t first = appends ? before.size() : by.below(before.size() + 1);
  weir::writer out(file.open(context, O_WRONLY | (appends ? O_APPEND : 0)),
                   {.offset = appends ? 0 : first,
                    .block_size = 4096 * (1 + by.below(2)),
                    .blocks = 1 + by.below(4),
                    .drop_cache = by.one_in(4)});
  writing model(by, out);
  for (int i = 0; i < steps_most && !by.used_up(); ++i) {
    promise(appends || out.position() == first + model.accepted().size());
    co_await model.step();
  }
  co_await model.close();
  const std::size_t written = out.written();
  promise(written <= model.accepted().size());
  const std::string_view known = std::string_view(model.accepted()).substr(0, written);
  const std::string after = file.contents();
  if (!model.failed()) {
    promise(known.size() == model.accepted().size() && after == with(before, first, known));
  } else {
    // Of what was accepted beyond that, some may be there, too.
    promise(std::string_view(after).substr(first).starts_with(known));
    promise(after.starts_with(std::string_view(before).substr(0, first)));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  choices by({data, size});
  const auto context = weir::fuzzing::context_by(by);
  context->run(write_all(by, *context));
  context->run();
  return 0;
}
