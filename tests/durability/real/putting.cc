// The daemon and its client, on one context. Each file is put once, under a name of its own, for
// what is there already is written over in place.

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "durability/contents.hpp"
#include "durability/real/own_scenarios.hpp"
#include "support/support.hpp"
#include "weir/commit.hpp"
#include "weir/daemon.hpp"

namespace weir::real_disks {
namespace {

using scenarios::promise_book;
using scenarios::promises;
using scenarios::surroundings;
using scenarios::survives;
using scenarios::violations;

constexpr std::size_t largest = 60000;  // what a pipe takes without anybody who reads

enum class way : std::uint8_t { plain, durable, synced_later };

std::string name_of(unsigned number) { return "put" + std::to_string(number); }

way way_of(const surroundings& where, unsigned number) {
  return static_cast<way>(scenarios::drawn(where.seed, name_of(number), 0) % 3);
}

unsigned file_count(const surroundings& where) { return 2 * where.rounds; }

result<testing::descriptor> filled_pipe(std::span<const std::byte> bytes) {
  testing::pipe_ends pipe = testing::make_pipe(O_CLOEXEC | O_NONBLOCK);
  const ssize_t written = ::write(pipe.write.get(), bytes.data(), bytes.size());
  if (written < 0) return std::unexpected(std::error_code(errno, std::system_category()));
  if (static_cast<std::size_t>(written) == bytes.size()) return std::move(pipe.read);
  return std::unexpected(std::make_error_code(std::errc::no_buffer_space));
}

// A name that was put without `durable` is made durable by its directory.
task<result<void>> sync_by_name(const surroundings& where, daemon_client& client,
                                std::string name) {
  const result<void> synced = co_await client.sync(std::move(name));
  if (!synced) co_return synced;
  co_return co_await sync_directory(where.context, where.directory);
}

task<result<void>> put(const surroundings& where, promises& told, daemon_client& client,
                       unsigned number) {
  const std::string name = name_of(number);
  const way how = way_of(where, number);
  const std::size_t size = scenarios::drawn(where.seed, name, 1) % largest;
  result<testing::descriptor> source =
      filled_pipe(scenarios::make_version(where.seed, name, 1, size));
  if (!source) co_return std::unexpected(source.error());
  const transfer_result done = co_await client.receive(
      name, source->get(), {.create = true, .truncate = true, .durable = how == way::durable});
  if (!done) co_return std::unexpected(done.error());
  told.promise(name, 1, how == way::durable ? survives::power_loss : survives::process_end);
  if (how != way::synced_later) co_return result<void>{};
  const result<void> synced = co_await sync_by_name(where, client, name);
  if (synced) told.promise(name, 1, survives::power_loss);
  co_return synced;
}

task<result<void>> put_every_second(const surroundings& where, promises& told,
                                    daemon_client& client, unsigned first) {
  for (unsigned number = first; number < file_count(where); number += 2) {
    const result<void> done = co_await put(where, told, client, number);
    if (!done) co_return done;
  }
  co_return result<void>{};
}

task<result<void>> be_client(const surroundings& where, promises& told, std::string socket) {
  result<daemon_client> client = co_await daemon_client::connect(where.context, std::move(socket));
  if (!client) co_return std::unexpected(client.error());
  auto [even, odd] = co_await when_all(put_every_second(where, told, *client, 0),
                                       put_every_second(where, told, *client, 1));
  co_return even ? odd : even;
}

task<result<void>> be_client_then_drain(const surroundings& where, promises& told,
                                        std::string socket, daemon_server& server) {
  const result<void> done = co_await be_client(where, told, std::move(socket));
  server.drain();
  co_return done;
}

task<result<void>> run(const surroundings& where, promises& told) {
  const std::string path = where.directory + "/socket";
  result<daemon_socket> socket = daemon_socket::listen(path);
  if (!socket) co_return std::unexpected(socket.error());
  const testing::descriptor root =
      testing::open_file(where.directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
  daemon_server server(where.context, socket->release(), {.root = root.get(), .allow_write = true});
  auto [served, done] =
      co_await when_all(server.serve(), be_client_then_drain(where, told, path, server));
  co_return done;
}

task<violations> check(const surroundings& where, const promise_book& kept) {
  violations wrong;
  for (unsigned number = 0; number < file_count(where); ++number) {
    const std::string name = name_of(number);
    if (kept.version_of(name) == 0) continue;
    const std::string path = where.directory + '/' + name;
    const auto found = co_await scenarios::contents_of(where.context, path);
    if (!found) {
      wrong.push_back(scenarios::failure("read", path, found.error()));
    } else if (!scenarios::version_in(*found, where.seed, name)) {
      wrong.push_back(name + " is not what was put");
    }
  }
  co_return wrong;
}

}  // namespace

scenarios::scenario putting() { return {.name = "daemon", .run = &run, .check = &check}; }

}  // namespace weir::real_disks
