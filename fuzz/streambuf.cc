// The streambuf over a reader and a writer, asked in all ways that iostreams know, beside strings.

#include "weir/streambuf.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "support/stream_file.hpp"
#include "weir/weir.hpp"

namespace {

using weir::fuzzing::promise;
using weir::testing::choices;
using traits = std::char_traits<char>;

constexpr std::size_t file_most = 20'000;
constexpr std::size_t piece_most = 9'000;
constexpr int steps_most = 64;
constexpr std::uint64_t no_limit = weir::streambuf::no_limit;

/// Reads and writes, and knows what has to come. Once something has failed, anything may.
class using_both {
 public:
  using_both(choices& by, std::streambuf& through, std::string_view text, std::uint64_t limit)
      : by_(by),
        through_(through),
        text_(text.substr(0, std::min<std::uint64_t>(limit, text.size()))),
        limit_(limit) {}

  void step() {
    switch (by_.below(8)) {
      case 0:
        return came(through_.sgetc(), 0);
      case 1:
        return came(through_.sbumpc(), 1);
      case 2:
        return get_many();
      case 3:
        return unget();
      case 4:
        return seek();
      case 5:
        return put();
      case 6:
        promise(through_.pubsync() == 0);
        return;
      default:
        return put_many();
    }
  }

  const std::string& written() const { return written_; }

 private:
  std::string_view rest() const { return text_.substr(std::min(at_, text_.size())); }

  void came(traits::int_type next, std::size_t used) {
    if (rest().empty()) return promise(traits::eq_int_type(next, traits::eof()));
    promise(traits::eq_int_type(next, traits::to_int_type(rest().front())));
    at_ += used;
  }

  void get_many() {
    std::array<char, piece_most> room{};
    const std::size_t size = by_.below(piece_most);
    const auto got =
        static_cast<std::size_t>(through_.sgetn(room.data(), static_cast<std::streamsize>(size)));
    promise(got == std::min(size, rest().size()));
    promise(rest().starts_with(std::string_view(room.data(), got)));
    at_ += got;
  }

  // It need not be possible.
  void unget() {
    const auto before = through_.sungetc();
    if (traits::eq_int_type(before, traits::eof())) return;
    promise(at_ > 0);
    --at_;
    promise(traits::eq_int_type(before, traits::to_int_type(text_[at_])));
  }

  void seek() {
    static constexpr std::array from = {std::ios_base::beg, std::ios_base::cur, std::ios_base::end};
    const auto way = by_.one_of(from);
    const auto offset = static_cast<std::streamoff>(by_.below(file_most)) -
                        (by_.one_in(2) ? static_cast<std::streamoff>(at_) : 0);
    const std::streamoff reached = through_.pubseekoff(offset, way, std::ios_base::in);
    const bool to_begin = way == std::ios_base::beg;
    const std::streamoff wanted = offset + (to_begin ? 0 : static_cast<std::streamoff>(at_));
    if (limit_ != no_limit || way == std::ios_base::end || wanted < 0)
      return promise(reached == -1);
    promise(reached == wanted);
    at_ = static_cast<std::size_t>(wanted);
  }

  std::size_t room() const { return std::min<std::uint64_t>(limit_ - written_.size(), piece_most); }

  void put() {
    const char next = static_cast<char>('a' + by_.below(26));
    const bool taken = !traits::eq_int_type(through_.sputc(next), traits::eof());
    promise(taken == (room() > 0));
    if (taken) written_ += next;
  }

  void put_many() {
    const std::string piece(by_.below(piece_most), static_cast<char>('a' + by_.below(26)));
    const auto taken = static_cast<std::size_t>(
        through_.sputn(piece.data(), static_cast<std::streamsize>(piece.size())));
    promise(taken == std::min(piece.size(), room()));
    written_.append(piece, 0, taken);
  }

  choices& by_;
  std::streambuf& through_;
  std::string_view text_;
  std::uint64_t limit_;
  std::size_t at_ = 0;
  std::string written_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  choices by({data, size});
  const auto context = weir::fuzzing::context_by(by, weir::fuzzing::failing::never);
  const std::string text = weir::fuzzing::text_by(by, file_most);
  const weir::fuzzing::stream_file source(text);
  const weir::fuzzing::stream_file target("");
  weir::reader in(source.open(*context, O_RDONLY), {.block_size = 4096, .blocks = 2});
  weir::writer out(target.open(*context, O_WRONLY), {.block_size = 4096, .blocks = 2});
  const std::uint64_t limit = by.one_in(4) ? by.below(file_most) : no_limit;
  std::string written;
  {
    weir::streambuf through(*context, &in, &out, limit);
    using_both model(by, through, text, limit);
    for (int i = 0; i < steps_most && !by.used_up(); ++i) model.step();
    written = model.written();
    promise(!through.error());
  }
  const auto closed = context->run([](weir::writer& last) -> weir::task<weir::transfer_result> {
    co_return co_await last.close();
  }(out));
  promise(closed.has_value() && target.contents() == written);
  return 0;
}
