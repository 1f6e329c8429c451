// That clients get equal shares, whatever each asks for: by the bytes that were moved for them, as
// the daemon itself counts them.

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "daemon/support.hpp"

namespace weir::testing {
namespace {

constexpr std::size_t mib = std::size_t{1} << 20;
constexpr std::size_t large = 64 * mib;

/// What has been moved for each of two clients, at one moment.
struct shares {
  std::uint64_t many = 0;
  std::uint64_t single = 0;
};

class daemon_shares : public ::testing::Test {
 protected:
  daemon_shares() {
    const descriptor file = make_file(daemon.root() / "large", large);
    std::vector<std::byte> bytes(mib);
    for (std::size_t at = 0; at < large; at += mib) {
      EXPECT_EQ(::pread(file.get(), bytes.data(), mib, static_cast<off_t>(at)), mib);
    }
    many.info();  // they are known in this order
    single.info();
    observer.info();
  }

  std::string metrics() const {
    pipe_ends channel = make_pipe(O_CLOEXEC);
    observer.send(bare_frame(message::metrics), {channel.write.get()});
    channel.write.reset();
    const auto bytes = bytes_to_end(channel.read.get());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  // The rows of this process, by the numbers of its connections.
  shares moved() const {
    const std::string text = metrics();
    std::vector<std::pair<long, std::uint64_t>> rows;
    const std::string row = "weir_client_bytes_total{connection=\"";
    for (std::size_t at = text.find(row); at != std::string::npos; at = text.find(row, at + 1)) {
      const char* const number = text.c_str() + at + row.size();
      const std::size_t value = text.find("} ", at) + 2;
      rows.emplace_back(std::strtol(number, nullptr, 10),
                        std::strtoull(text.c_str() + value, nullptr, 10));
    }
    std::ranges::sort(rows);
    EXPECT_GE(rows.size(), 3U);
    return {.many = rows[rows.size() - 3].second, .single = rows[rows.size() - 2].second};
  }

  // Until there are so many under way, which are all always ready to go on.
  void keep_busy(std::vector<descriptor>& channels, std::size_t wanted) const {
    std::erase_if(channels, [](const descriptor& each) {
      drain(each.get());
      pollfd end{.fd = each.get(), .events = POLLIN, .revents = 0};
      return ::poll(&end, 1, 0) == 1;
    });
    while (channels.size() < wanted) channels.push_back(many.send_to("large", null.get()));
  }

  daemon_process daemon;
  raw_client many = daemon.connect();
  raw_client single = daemon.connect();
  raw_client observer = daemon.connect();
  descriptor null = open_file("/dev/null", O_WRONLY);
};

// S20, invariant 16. What was moved between two looks, in the midst of a transfer.
TEST_F(daemon_shares, a_client_with_two_hundred_transfers_gets_as_much_as_one_with_one) {
  constexpr std::uint64_t enough = 16 * mib;
  constexpr std::uint64_t two_turns_at_each_end = 4 * mib;
  std::vector<descriptor> channels;
  EXPECT_TRUE(comes_true([&] {
    keep_busy(channels, 200);
    const descriptor channel = single.send_to("large", null.get());
    EXPECT_TRUE(next_answer(channel.get()));
    const shares first = moved();
    shares last = first;
    for (shares now = first; drain(channel.get()) == 0; now = moved()) last = now;
    if (last.single - first.single < enough) return false;  // it was over before it was looked at
    const std::uint64_t to_many = last.many - first.many;
    const std::uint64_t to_single = last.single - first.single;
    EXPECT_LE(std::max(to_many, to_single) - std::min(to_many, to_single), two_turns_at_each_end)
        << to_many << " and " << to_single << " bytes";
    return true;
  }));
}

}  // namespace
}  // namespace weir::testing
