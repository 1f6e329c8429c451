#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <boost/intrusive/list.hpp>

#include "client_socket.hpp"
#include "request.hpp"
#include "response.hpp"
#include "site.hpp"

namespace http_file_server {

/// One client: its requests, answered in their order, one after the other.
class connection : public boost::intrusive::list_base_hook<
                       boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  /// Owns `fd`, a non-blocking socket.
  connection(site& shared, int fd) noexcept;
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  ~connection();

  /// Until the client or the server ends it, or the time is up.
  weir::task<> serve();

  /// The server ends: at once if there is nothing to be answered, else after the answer.
  void end_soon() noexcept;
  void end_now() noexcept { socket_.give_up(); }

 private:
  // Receiving.
  weir::task<parsed> next_request();
  weir::task<bool> receive_more();
  void consume(std::size_t length) noexcept;
  std::string_view input() const noexcept { return {&input_[first_], last_ - first_}; }

  // Choosing what to answer.
  weir::task<> prepare(parsed asked);
  weir::task<> look_up(const request& asked, std::string path);
  weir::task<> answer_directory(const request& asked, std::string path);
  void prepare_file(const request& asked, file_pointer file);
  void prepare_page(const request& asked, short_page page);
  void refuse(const std::error_code& error, const request& asked);

  // Sending it.
  weir::task<bool> send_response();
  struct progress {
    std::size_t sent = 0;
    bool blocked = false;  // the kernel did not take everything
  };
  weir::task<weir::result<progress>> send_some(std::string_view head);
  weir::task<weir::result<progress>> send_from_cache(std::string_view head, std::size_t length);
  weir::result<progress> send_parts(std::string_view head, std::span<std::byte> content);
  void account(std::string_view& head, const progress& made) noexcept;
  weir::task<> linger();

  site& site_;
  client_socket socket_;
  bool idle_ = false;       // waits for a request of which nothing has come
  bool keep_alive_ = true;  // after this response
  std::size_t first_ = 0;   // input_[first_, last_) has been received and not consumed
  std::size_t last_ = 0;
  std::string head_;   // of the response, and a short page with it
  file_pointer file_;  // whose bytes follow
  std::uint64_t offset_ = 0;
  std::uint64_t left_ = 0;
  std::size_t pace_ = block_stack::block_size;  // how much to read for one send
  std::array<char, head_max> input_;
};

}  // namespace http_file_server
