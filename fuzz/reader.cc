// A stream that is read in pieces of any size, while the file comes in others, beside a string with
// a position.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "support/stream_file.hpp"
#include "weir/weir.hpp"

namespace {

using weir::fuzzing::promise;
using weir::testing::choices;

constexpr std::size_t file_most = 40'000;
constexpr std::size_t piece_most = 10'000;
constexpr int steps_most = 64;

/// Reads, and knows what has to come.
class reading {
 public:
  reading(choices& by, weir::reader& in, const std::string& text, std::size_t at)
      : by_(by), in_(in), text_(text), at_(at) {}

  weir::task<> step() {
    promise(in_.position() == at_);
    switch (by_.below(8)) {
      case 0:
        co_return co_await read();
      case 1:
        co_return co_await read_exactly();
      case 2:
        co_return co_await read_until();
      case 3:
        co_return co_await read_line();
      case 4:
        co_return co_await peek();
      case 5:
        at_ = by_.below(file_most + 100);
        co_return in_.seek(at_);
      case 6: {
        const std::size_t further = by_.below(piece_most);
        at_ += further;
        co_return in_.skip(further);
      }
      default:
        co_return co_await read();
    }
  }

 private:
  std::string_view rest() const {
    return std::string_view(text_).substr(std::min(at_, text_.size()));
  }

  static void is_a_fault(const std::error_code& error) { promise(error == std::errc::io_error); }

  void came(std::string_view bytes) {
    promise(rest().starts_with(bytes));
    at_ += bytes.size();
  }
  std::string_view in_room(std::size_t count) const { return {room_.data(), count}; }
  std::span<std::byte> room(std::size_t size) {
    return std::as_writable_bytes(std::span(room_)).first(size);
  }

  weir::task<> read() {
    const std::size_t size = by_.below(piece_most);
    const auto count = co_await in_.read(room(size));
    if (!count) co_return is_a_fault(count.error());
    promise(*count <= size && (*count > 0 || size == 0 || rest().empty()));
    came(in_room(*count));
  }

  weir::task<> read_exactly() {
    const std::size_t size = by_.below(piece_most);
    const auto moved = co_await in_.read_exactly(room(size));
    if (moved) {
      promise(*moved == size);
    } else if (moved.error() == weir::errc::short_read) {
      promise(moved.transferred == rest().size() && rest().size() < size);
    } else {
      is_a_fault(moved.error());
      promise(moved.transferred < size);
    }
    came(in_room(moved.transferred));
  }

  weir::task<> read_until() {
    const char delimiter = by_.one_in(4) ? 'Z' : 'k';
    const std::size_t limit = by_.below(500);
    std::string into = "before";
    const auto count = co_await in_.read_until(into, delimiter, limit);
    const std::size_t end = std::min(rest().find(delimiter), rest().size());
    const std::size_t whole = std::min(end + 1, rest().size());
    if (count) {
      promise(*count == into.size() && into.size() == whole && end <= limit);
    } else if (count.error() == weir::errc::too_long) {
      promise(into.size() == limit && end > limit);
    } else {
      is_a_fault(count.error());
    }
    came(into);
  }

  weir::task<> read_line() {
    const std::size_t limit = by_.below(500);
    std::string line = "before";
    const auto there = co_await in_.read_line(line, limit);
    const std::size_t end = std::min(rest().find('\n'), rest().size());
    const bool ended = end < rest().size();
    if (there) {
      promise(*there != rest().empty() && line.size() == end && end <= limit);
    } else if (there.error() == weir::errc::too_long) {
      promise(line.size() == limit && end > limit);
    } else {
      is_a_fault(there.error());
    }
    came(line);
    if (there && ended) came("\n");
  }

  weir::task<> peek() {
    const auto view = co_await in_.peek();
    if (!view) co_return is_a_fault(view.error());
    promise(!view->empty() || rest().empty());
    const std::string_view seen(reinterpret_cast<const char*>(view->data()), view->size());
    promise(rest().starts_with(seen));
    const std::size_t used = by_.below(seen.size() + 1);
    in_.consume(used);
    at_ += used;
  }

  choices& by_;
  weir::reader& in_;
  const std::string& text_;
  std::size_t at_;
  std::array<char, piece_most> room_{};
};

weir::task<> read_all(choices& by, weir::io_context& context) {
  const std::string text = weir::fuzzing::text_by(by, file_most);
  const weir::fuzzing::stream_file file(text);
  const std::size_t first = by.one_in(4) ? by.below(file_most) : 0;
  weir::reader in(file.open(context, O_RDONLY), {.offset = first,
                                                 .block_size = 4096 * (1 + by.below(2)),
                                                 .blocks = 1 + by.below(4),
                                                 .drop_cache = by.one_in(4)});
  reading model(by, in, text, first);
  for (int i = 0; i < steps_most && !by.used_up(); ++i) co_await model.step();
  if (by.one_in(2)) promise((co_await in.close()).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  choices by({data, size});
  const auto context = weir::fuzzing::context_by(by);
  context->run(read_all(by, *context));
  context->run();
  return 0;
}
