// What files that behave like sockets cost beside the plain calls: small reads of what the page
// cache has, in sequence and at random; small writes; and a large file that it does not have. A
// file on the disk of $TMPDIR, else /var/tmp.

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "support/fail.hpp"
#include "support/program.hpp"
#include "support/scratch_file.hpp"
#include "support/units.hpp"
#include "weir/buffer.hpp"
#include "weir/ready_file.hpp"

namespace {

using namespace weir::bench;

constexpr std::size_t block = 4096;
constexpr std::size_t record = 100;
constexpr std::size_t large_block = 64 * kib;

template <class T>
T valid(weir::result<T> outcome, const char* call) {
  if (!outcome) throw std::system_error(outcome.error(), call);
  return *outcome;
}

/// A table with one file in it, whose events are waited for as an event loop would.
class ready_peer {
 public:
  ready_peer(const scratch_file& of, int flags)
      : file_(files_, valid(files_.open(of.path(), flags, 0), "open")) {
    wait_for(weir::ready::opened);
  }

  void seek_read(std::uint64_t to) { valid(file_.seek_read(to), "seek_read"); }
  void seek_write(std::uint64_t to) { valid(file_.seek_write(to), "seek_write"); }

  std::size_t read(std::span<std::byte> into) {
    for (;;) {
      const auto count = file_.try_read(into);
      if (count) return *count;
      wait_unless_failed(count.error(), weir::ready::readable, "try_read");
    }
  }

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto count = file_.try_write(bytes);
      if (count) {
        bytes = bytes.subspan(*count);
      } else {
        wait_unless_failed(count.error(), weir::ready::writable, "try_write");
      }
    }
  }

  /// Until what was accepted is in the page cache, as after write(2).
  void finish_writing() {
    valid(file_.sync(weir::durability::none), "sync");
    wait_for(weir::ready::synced);
  }

 private:
  void wait_unless_failed(std::error_code why, unsigned what, const char* call) {
    if (why != std::errc::resource_unavailable_try_again) throw std::system_error(why, call);
    wait_for(what);
  }

  void wait_for(unsigned what) {
    for (;;) {
      pollfd shown{.fd = files_.fd(), .events = POLLIN, .revents = 0};
      checked("poll", ::poll(&shown, 1, -1));
      while (const auto event = files_.next()) {
        if (event->error) throw std::system_error(event->error, "a ready file");
        if (event->what == what) return;
      }
    }
  }

  weir::ready_files files_;
  weir::ready_file file_;
};

// --- small reads ---------------------------------------------------------------------------------

conditions small_reads(const std::string& how) {
  return {.regime = "4 KiB reads, " + how + ", in the page cache, processor time", .pairs = 41};
}

contestant ready_in_sequence(ready_peer& peer, std::size_t span, std::span<std::byte> memory) {
  return in_process("ready_files::try_read", timed_by::process,
                    [&peer, span, memory](std::uint64_t operations) {
                      for (std::uint64_t i = 0; i < operations; ++i) {
                        if (i % (span / block) == 0) peer.seek_read(0);
                        expect_whole("try_read", static_cast<long long>(peer.read(memory)), block);
                      }
                    });
}

contestant pread_in_sequence(int fd, std::size_t span, std::span<std::byte> memory) {
  return in_process("pread(2)", timed_by::process, [fd, span, memory](std::uint64_t operations) {
    for (std::uint64_t i = 0; i < operations; ++i) {
      const auto offset = static_cast<off_t>(i % (span / block) * block);
      expect_whole("pread", ::pread(fd, memory.data(), memory.size(), offset), block);
    }
  });
}

contestant read_in_sequence(int fd, std::size_t span, std::span<std::byte> memory) {
  return in_process("read(2)", timed_by::process, [fd, span, memory](std::uint64_t operations) {
    for (std::uint64_t i = 0; i < operations; ++i) {
      if (i % (span / block) == 0) ::lseek(fd, 0, SEEK_SET);
      expect_whole("read", ::read(fd, memory.data(), memory.size()), block);
    }
  });
}

void compare_in_sequence(program& run, const scratch_file& file, std::size_t span) {
  weir::buffer memory(block);
  ready_peer peer(file, O_RDONLY);
  const conditions under = small_reads("in sequence, of " + size_name(span));
  const contestant ours = ready_in_sequence(peer, span, memory.span());
  contestant noise = pread_in_sequence(file.buffered(), span, memory.span());
  run.compare(under, ours, pread_in_sequence(file.buffered(), span, memory.span()));
  run.compare(under, ours, read_in_sequence(file.buffered(), span, memory.span()));
  noise.name = "pread(2) again: noise";
  run.compare(under, noise, pread_in_sequence(file.buffered(), span, memory.span()));
}

void compare_at_random(program& run, const scratch_file& file, std::size_t span) {
  weir::buffer memory(block);
  std::vector<std::uint64_t> offsets(std::size_t{1} << 16);
  std::mt19937_64 random(1);
  std::ranges::generate(offsets, [&] { return random() % (span / block) * block; });
  ready_peer peer(file, O_RDONLY);
  const auto ours = [&](std::uint64_t operations) {
    for (std::uint64_t i = 0; i < operations; ++i) {
      peer.seek_read(offsets[i % offsets.size()]);
      expect_whole("try_read", static_cast<long long>(peer.read(memory.span())), block);
    }
  };
  const auto plain = [&](std::uint64_t operations) {
    for (std::uint64_t i = 0; i < operations; ++i) {
      const auto offset = static_cast<off_t>(offsets[i % offsets.size()]);
      expect_whole("pread", ::pread(file.buffered(), memory.data(), block, offset), block);
    }
  };
  run.compare(small_reads("at random, of " + size_name(span)),
              in_process("seek_read, try_read", timed_by::process, ours),
              in_process("pread(2)", timed_by::process, plain));
}

// --- small writes --------------------------------------------------------------------------------

void compare_writes(program& run, const scratch_file& file) {
  const auto records = run.unless_quick<std::uint64_t>(200'000, 5'000);
  const std::array<std::byte, record> bytes{};
  ready_peer peer(file, O_WRONLY);
  const auto ours = [&] {
    peer.seek_write(0);
    for (std::uint64_t i = 0; i < records; ++i) peer.write(bytes);
    peer.finish_writing();
  };
  const auto plain = [&] {
    ::lseek(file.buffered(), 0, SEEK_SET);
    for (std::uint64_t i = 0; i < records; ++i) {
      expect_whole("write", ::write(file.buffered(), bytes.data(), record), record);
    }
  };
  for (const auto& [by, name] : {std::pair{timed_by::wall, ""},
                                 std::pair{timed_by::process, ", processor time of all threads"},
                                 std::pair{timed_by::thread, ", the caller's processor time"}}) {
    run.compare({.regime = "writes of 100 bytes, to the page cache" + std::string(name),
                 .operations = records},
                of_one_size("ready_files::try_write", by, ours),
                of_one_size("write(2)", by, plain));
  }
}

// --- a large file that the page cache does not have ----------------------------------------------

void compare_cold(program& run, const scratch_file& file) {
  const std::uint64_t blocks = file.size() / large_block;
  weir::buffer memory(large_block);
  ready_peer peer(file, O_RDONLY);
  const auto drop = [&] { file.drop_from_cache(); };
  const auto ours = [&](std::uint64_t) {
    peer.seek_read(0);
    std::size_t left = file.size();
    while (left != 0) {
      const std::size_t count = peer.read(memory.span());
      if (count == 0 || count > left) fail("the file ended early", EIO);
      left -= count;
    }
  };
  const auto plain = [&](std::uint64_t) {
    ::lseek(file.buffered(), 0, SEEK_SET);
    for (std::uint64_t i = 0; i < blocks; ++i) {
      expect_whole("read", ::read(file.buffered(), memory.data(), large_block), large_block);
    }
  };
  for (const auto& [by, name] :
       {std::pair{timed_by::wall, ""}, std::pair{timed_by::process, ", processor time"}}) {
    const conditions under{
        .regime = size_name(file.size()) + " by 64 KiB, not in the page cache" + std::string(name),
        .shown = megabytes(large_block),
        .operations = blocks};
    const contestant peer_reads = in_process("read(2)", by, plain, drop);
    contestant noise = peer_reads;
    noise.name = "read(2) again: noise";
    run.compare(under, in_process("ready_files::try_read", by, ours, drop), peer_reads);
    run.compare(under, noise, peer_reads);
  }
}

int body(int argc, char** argv) {
  program run(argc, argv, "ready", "What do files that behave like sockets cost?");
  {
    const scratch_file file(64 * mib);
    for (const std::size_t span : {mib, 64 * mib}) {
      compare_in_sequence(run, file, span);
      compare_at_random(run, file, span);
    }
    compare_writes(run, file);
  }
  const scratch_file large(run.unless_quick(1024 * mib, 16 * mib));
  compare_cold(run, large);
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
