#include "connection.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "listing.hpp"
#include "target.hpp"
#include "weir/transfer.hpp"

namespace http_file_server {
namespace {

constexpr std::size_t smallest_pace = std::size_t{16} << 10;
// From how much on sending without a copy pays, and how much of it is a connection's turn.
constexpr std::uint64_t sendfile_min = std::uint64_t{64} << 10;
constexpr std::uint64_t sendfile_max = std::uint64_t{512} << 10;
// Of what a refused client goes on sending.
constexpr std::size_t lingering_max = std::size_t{1} << 20;

unsigned status_of(parse_status status) noexcept {
  if (status == parse_status::too_large) return 431;
  return status == parse_status::has_body ? 413 : 400;
}

unsigned status_of(const std::error_code& error) noexcept {
  switch (error.value()) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case EINVAL:  // a name that the file system cannot have
      return 404;
    case EACCES:
    case EPERM:
    case EXDEV:  // out of the tree
    case ELOOP:
    case ENXIO:  // a socket, or a device that is not there
      return 403;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:
      return 503;
    default:
      return 500;
  }
}

iovec as_iovec(std::string_view text) noexcept {
  return {const_cast<char*>(text.data()), text.size()};  // only read
}

/// A block that goes back to where it came from.
class borrowed_block {
 public:
  explicit borrowed_block(block_stack& from) : from_(from), block_(from.take()) {}
  borrowed_block(const borrowed_block&) = delete;
  borrowed_block& operator=(const borrowed_block&) = delete;
  ~borrowed_block() { from_.give_back(std::move(block_)); }
  std::span<std::byte> span() noexcept { return block_.span(); }

 private:
  block_stack& from_;
  weir::buffer block_;
};

}  // namespace

connection::connection(site& shared, int fd) noexcept : site_(shared), socket_(shared.loop, fd) {
  ++site_.connections;
}

connection::~connection() { --site_.connections; }

void connection::end_soon() noexcept {
  if (idle_) end_now();
}

weir::task<> connection::serve() {
  if (!socket_.open()) co_return;
  do {
    const parsed asked = co_await next_request();
    if (asked.status == parse_status::incomplete) co_return;
    co_await prepare(asked);
    consume(asked.consumed);
    if (!co_await send_response()) co_return;
    if (asked.status != parse_status::done) co_return co_await linger();
    // Whoever sends many requests at once gets one answer a turn, as everybody does.
    if (keep_alive_ && !input().empty()) co_await site_.loop.next_turn();
  } while (keep_alive_);
  socket_.finish_sending();
}

// --- receiving -----------------------------------------------------------------------------------

// One deadline for the wait and the whole head, so that a head that comes byte by byte gains
// nothing. Incomplete: there is no other request.
weir::task<parsed> connection::next_request() {
  socket_.renew_deadline();
  for (;;) {
    if (const parsed asked = parse_request(input()); asked.status != parse_status::incomplete) {
      co_return asked;
    }
    if (!co_await receive_more()) co_return parsed{};
  }
}

weir::task<bool> connection::receive_more() {
  if (first_ != 0) {
    std::ranges::copy(input(), input_.begin());
    last_ -= std::exchange(first_, 0);
  }
  for (;;) {
    const auto count = socket_.receive(std::span(input_).subspan(last_));
    if (count) {
      last_ += *count;
      co_return *count != 0;
    }
    if (count.error().value() != EAGAIN) co_return false;
    if (site_.ending && last_ == 0) co_return false;
    idle_ = last_ == 0;
    const bool came = co_await socket_.readable();
    idle_ = false;
    if (!came) co_return false;
  }
}

void connection::consume(std::size_t length) noexcept {
  first_ += length;
  if (first_ == last_) first_ = last_ = 0;
}

// --- choosing what to answer ---------------------------------------------------------------------

weir::task<> connection::prepare(parsed asked) {
  const request& head = asked.head;
  keep_alive_ = asked.status == parse_status::done && head.keep_alive && !site_.ending;
  if (asked.status != parse_status::done) {
    co_return prepare_page(head, status_page(status_of(asked.status)));
  }
  if (head.method == method::other) {
    co_return prepare_page(head, status_page(405, "Allow: GET, HEAD\r\n"));
  }
  auto path = path_of_target(head.target);
  if (!path) co_return prepare_page(head, status_page(400));
  if (path->empty() || path->ends_with('/')) *path += "index.html";
  if (auto known = site_.files.find(*path)) co_return prepare_file(head, std::move(known));
  co_await look_up(head, std::move(*path));
}

weir::task<> connection::look_up(const request& asked, std::string path) {
  auto opened = co_await site_.files.open(path);
  if (opened) co_return prepare_file(asked, std::move(*opened));
  const bool of_directory = !asked.target.ends_with("index.html") && path.ends_with("index.html");
  if (opened.error().value() == EISDIR) {
    const std::string location = "Location: /" + encoded(path) + "/\r\n";
    co_return prepare_page(asked, status_page(301, location));
  }
  if (opened.error().value() == ENOENT && of_directory && site_.settings.list_directories) {
    path.erase(path.rfind("index.html"));
    co_return co_await answer_directory(asked, std::move(path));
  }
  refuse(opened.error(), asked);
}

weir::task<> connection::answer_directory(const request& asked, std::string path) {
  auto page = co_await list_page(site_.loop.context(), site_.root, std::move(path));
  page ? prepare_page(asked, html_page(std::move(*page))) : refuse(page.error(), asked);
}

void connection::prepare_file(const request& asked, file_pointer file) {
  const selection part = select(asked, file->current(), file->status.size);
  head_.clear();
  append_file_head(head_, *file, part);
  append_common_fields(head_, site_.date.text(), keep_alive_);
  offset_ = part.first;
  left_ = asked.method == method::head ? 0 : part.length;
  file_ = std::move(file);
}

void connection::prepare_page(const request& asked, short_page page) {
  head_ = std::move(page.head);
  append_common_fields(head_, site_.date.text(), keep_alive_);
  if (asked.method != method::head) head_ += page.body;
  left_ = 0;
}

void connection::refuse(const std::error_code& error, const request& asked) {
  prepare_page(asked, status_page(status_of(error)));
}

// --- sending it ----------------------------------------------------------------------------------

// False when the client cannot have all of it: it has gone, it takes nothing, or the file has
// become shorter than was promised. Ending the connection is then all that can be said.
weir::task<bool> connection::send_response() {
  std::string_view head = head_;
  for (;;) {
    const auto made = co_await send_some(head);
    if (!made) co_return false;
    account(head, *made);
    if (head.empty() && left_ == 0) break;
    if (socket_.given_up()) co_return false;
    if (made->sent != 0) socket_.renew_deadline();
    if (made->blocked) {
      if (!co_await socket_.writable()) co_return false;
    } else {
      co_await site_.loop.next_turn();
    }
  }
  file_.reset();
  co_return true;
}

// What the client does not take is forgotten, and read again when it does: the page cache has it,
// and a slow client holds no memory of ours.
weir::task<weir::result<connection::progress>> connection::send_some(std::string_view head) {
  if (left_ == 0) co_return send_parts(head, {});
  if (const auto length = std::min(left_, sendfile_max);
      length >= sendfile_min && weir::all_cached(file_->file.native_handle(), offset_, length)) {
    co_return co_await send_from_cache(head, length);
  }
  borrowed_block block(site_.blocks);
  const auto memory = block.span().first(std::min<std::uint64_t>(left_, pace_));
  const auto count = co_await file_->file.read_at(memory, offset_);
  if (!count) co_return std::unexpected(count.error());
  if (*count == 0) co_return std::unexpected(weir::make_error_code(weir::errc::short_read));
  co_return send_parts(head, memory.first(*count));
}

// sendfile(2) has no way not to wait for the disk, so it is called where there is nothing to wait
// for: every page is in memory or on its way, and the last of them has come, awaited by weir.
weir::task<weir::result<connection::progress>> connection::send_from_cache(std::string_view head,
                                                                           std::size_t length) {
  std::array<std::byte, 1> last{};
  const auto came = co_await file_->file.read_at(last, offset_ + length - 1);
  if (!came) co_return std::unexpected(came.error());
  if (!head.empty()) {
    const auto sent = socket_.send_before_more(std::array{as_iovec(head)});
    if (!sent) co_return std::unexpected(sent.error());
    if (*sent < head.size()) co_return progress{.sent = *sent, .blocked = true};
  }
  const auto moved = socket_.send_file(file_->file.native_handle(), offset_, length);
  const bool blocked = !moved && moved.error().value() == EAGAIN;
  if (!moved && !blocked) co_return std::unexpected(moved.error());
  if (moved && *moved == 0) {
    co_return std::unexpected(weir::make_error_code(weir::errc::short_read));
  }
  co_return progress{.sent = head.size() + moved.value_or(0), .blocked = blocked};
}

weir::result<connection::progress> connection::send_parts(std::string_view head,
                                                          std::span<std::byte> content) {
  const std::array parts = {as_iovec(head), iovec{content.data(), content.size()}};
  const auto sent = socket_.send(parts);
  if (!sent) return std::unexpected(sent.error());
  return progress{.sent = *sent, .blocked = *sent < head.size() + content.size()};
}

// As much is read for the next send as the client has taken at once, or twice as much where it took
// all: so little is read that would have to be forgotten.
void connection::account(std::string_view& head, const progress& made) noexcept {
  const std::size_t of_head = std::min(head.size(), made.sent);
  const std::size_t of_file = made.sent - of_head;
  head.remove_prefix(of_head);
  offset_ += of_file;
  left_ -= of_file;
  pace_ = std::clamp(made.blocked ? of_file : pace_ * 2, smallest_pace, block_stack::block_size);
}

// Closing while the client still sends would reset the connection, and might take the answer that
// says why from it (RFC 9112 9.6).
weir::task<> connection::linger() {
  socket_.finish_sending();
  socket_.renew_deadline();
  for (std::size_t discarded = 0; discarded < lingering_max;) {
    const auto count = socket_.receive(input_);
    if (count && *count == 0) co_return;
    if (count) {
      discarded += *count;
    } else if (count.error().value() != EAGAIN || !co_await socket_.readable()) {
      co_return;
    }
  }
}

}  // namespace http_file_server
