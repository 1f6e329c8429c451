#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <streambuf>
#include <system_error>

#include "weir/io_thread.hpp"
#include "weir/stream.hpp"
#include "weir/task.hpp"

/// Readers and writers as what iostreams are made of. Not in <weir/weir.hpp>: <streambuf> is heavy.
///
///     weir::io_thread thread;
///     weir::reader in(file);                              // opened on thread.context()
///     weir::streambuf message(thread, &in, nullptr, 100); // its first 100 bytes, then the end
///     std::istream words(&message);
///     for (std::string word; words >> word;) …
namespace weir {

/// A std::streambuf for a plain thread, which it blocks while it waits: over a reader, a writer, or
/// both, which it borrows. Several may use one reader after the other: each goes on where the one
/// before was destroyed.
///
/// What is read lies in the reader's own blocks and is not copied; what is written goes through
/// 4096 bytes of the streambuf's. `sync` (std::flush) has it written to the file, with no
/// durability: that is what `writer::flush` and `close` are for. The destructor hands it to the
/// writer, and cannot tell of an error.
///
/// A limit is exact, and for each direction by itself: after so many bytes reading finds the end,
/// and writing fails. Iostreams can only say that something failed; `error` says why.
///
/// Threads: one at a time, never the reader's and writer's own loop. The streambuf asks on the
/// context's thread what it has to ask, which takes a switch of threads for each block; meanwhile
/// nobody else may use the reader or writer.
class streambuf : public std::streambuf {
 public:
  static constexpr std::uint64_t no_limit = UINT64_MAX;

  /// Over streams whose files belong to that thread's context. Either may be null.
  streambuf(io_thread& thread, reader* in, writer* out, std::uint64_t limit = no_limit) noexcept;
  /// Over streams of a context that no thread drives but the one that uses this, here, as often as
  /// it has to wait.
  streambuf(io_context& driven_here, reader* in, writer* out,
            std::uint64_t limit = no_limit) noexcept;
  streambuf(const streambuf&) = delete;
  streambuf& operator=(const streambuf&) = delete;
  ~streambuf() override;

  /// Why reading or writing failed first; none where it did not, at the end of the file or limit.
  std::error_code error() const noexcept { return error_; }
  /// What the limit still lets be read is passed over: the end of a message of known length.
  void skip_rest();

 protected:
  int_type underflow() override;
  int_type overflow(int_type next) override;
  int sync() override;
  /// For reading only, without a limit, and not from the end; else -1.
  pos_type seekoff(off_type offset, std::ios_base::seekdir from,
                   std::ios_base::openmode which) override;
  pos_type seekpos(pos_type position, std::ios_base::openmode which) override;

 private:
  streambuf(io_context& context, bool drives, reader* in, writer* out,
            std::uint64_t limit) noexcept;
  template <class T>
  T wait_for(task<T> work);
  std::size_t used() const noexcept { return static_cast<std::size_t>(gptr() - eback()); }
  bool hand_over();
  void remember(std::error_code failed) noexcept;
  void empty_room() noexcept;

  io_context& context_;
  const bool drives_;
  reader* const in_;
  writer* const out_;
  const bool limited_;
  std::uint64_t left_to_read_;  // of the limit, beyond what is shown
  std::uint64_t left_to_write_;
  std::error_code error_;
  std::array<char, 4096> room_;
};

}  // namespace weir
