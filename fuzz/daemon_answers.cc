// What a daemon, or whoever poses as one, may answer on a channel: to the clients in C and in C++.
// The first byte chooses what was asked; how long what it says is, and what it promises, are lies.

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "daemon/descriptor.hpp"
#include "daemon/message_socket.hpp"
#include "daemon/protocol.hpp"
#include "support/choices.hpp"
#include "support/promise.hpp"
#include "support/received_message.hpp"
#include "weir/daemon.h"
#include "weir/daemon.hpp"
#include "weir/weir.hpp"

namespace {

using namespace weir::detail::daemon;
using weir::daemon_client;
using weir::task;
using weir::fuzzing::promise;
using weir::fuzzing::received_message;

// --- in C ----------------------------------------------------------------------------------------

template <class Structure>
void promises_about_a_parse(const std::vector<std::byte>& bytes,
                            int (*parse)(const void*, ssize_t, Structure*)) {
  Structure into{};
  const int read = parse(bytes.data(), static_cast<ssize_t>(bytes.size()), &into);
  if (bytes.size() < answer_size) return promise(read == 0 || bytes.empty());
  promise(read == 1 || read < 0);
  if (read == 1) promise(into.version == protocol_version);
}

void parse_in_c(const std::vector<std::byte>& bytes) {
  promises_about_a_parse<weir_answer>(bytes, &weir_parse_answer);
  promises_about_a_parse<weir_file_info>(bytes, &weir_parse_file_info);
  promises_about_a_parse<weir_transfer_status>(bytes, &weir_parse_transfer_status);
  promises_about_a_parse<weir_daemon_state>(bytes, &weir_parse_daemon_info);
}

// --- in C++ --------------------------------------------------------------------------------------

/// A socket at which nobody but this process is asked.
class impostor {
 public:
  impostor() : context_(weir::open_driver({.name = "sync"}).value()) {
    promise(::mkdtemp(directory_.data()) != nullptr);
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    std::memcpy(address.sun_path, path().c_str(), path().size());
    listening_ = descriptor(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    promise(::bind(listening_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    promise(::listen(listening_.get(), 8) == 0);
  }
  impostor(const impostor&) = delete;
  impostor& operator=(const impostor&) = delete;
  ~impostor() { std::filesystem::remove_all(directory_); }

  template <class Ask>
  void answer(std::span<const std::byte> with, bool on_the_connection, Ask ask) {
    context_.run(converse(with, on_the_connection, std::move(ask)));
  }

 private:
  std::string path() const { return directory_ + "/socket"; }

  template <class Ask>
  task<> converse(std::span<const std::byte> with, bool on_the_connection, Ask ask) {
    auto client = co_await daemon_client::connect(context_, path());
    promise(client.has_value());
    descriptor connection(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    promise(connection.get() >= 0);
    co_await weir::when_all(ask(*client), lie(std::move(connection), with, on_the_connection));
  }

  // Once: who asks again finds nobody there.
  task<> lie(descriptor connection, std::span<const std::byte> with, bool on_the_connection) {
    const descriptor here = std::move(connection);
    co_await context_.poll(here.get(), POLLIN);
    received_message asked;
    promise(asked.receive(here.get()) > 0);
    promise(check(asked.as_frame()).has_value());
    const descriptor channel(asked.take_descriptor(0));
    if (on_the_connection) {
      promise(send_message(here.get(), with.first(std::min(with.size(), frame_max))) == 0);
    } else {
      promise(::write(channel.get(), with.data(), with.size()) ==
              static_cast<ssize_t>(with.size()));
    }
  }

  std::string directory_ = "/tmp/weir_fuzz.XXXXXX";
  descriptor listening_;
  weir::io_context context_;
};

task<> ask_for_bytes(daemon_client& client) {
  std::vector<std::byte> into(256);
  std::uint64_t told = 0;
  const auto moved = co_await client.read(
      "file", into, {.progress = [&told](std::uint64_t more) { told += more; }});
  promise(moved.transferred <= into.size() && told == moved.transferred);
  promise(!moved || *moved == moved.transferred);
}

template <class Result>
void is_an_outcome(const Result& said) {
  promise(said.has_value() || said.error());
}

task<> ask_for(daemon_client& client, std::size_t which) {
  switch (which) {
    case 0:
      co_return co_await ask_for_bytes(client);
    case 1:
      co_return is_an_outcome(co_await client.stat("file"));
    case 2:
      co_return is_an_outcome(co_await client.sync("file"));
    case 3:
      co_return is_an_outcome(co_await client.send("file", STDERR_FILENO));
    case 4:
      co_return is_an_outcome(co_await client.receive("file", STDIN_FILENO));
    default:
      co_return is_an_outcome(co_await client.cancel(7));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static impostor daemon;
  constexpr std::size_t most = 16'384;  // what a pipe takes at once, and more than is looked at
  weir::testing::choices by({data, std::min(size, most)});
  const std::size_t which = by.below(6);
  const bool on_the_connection = by.one_in(8);
  const std::string_view said = by.rest();
  // A copy of exactly that size, so that a byte too far is seen.
  const auto view = std::as_bytes(std::span(said));
  const std::vector<std::byte> bytes(view.begin(), view.end());
  parse_in_c(bytes);
  if (on_the_connection && bytes.empty()) return 0;
  daemon.answer(bytes, on_the_connection,
                [which](daemon_client& client) { return ask_for(client, which); });
  return 0;
}
