#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace http_file_server {

/// What the command line can say; each thread's server works by a copy of it.
struct options {
  std::string root = ".";
  std::string address = "127.0.0.1";
  std::uint16_t port = 8080;
  unsigned threads = 1;
  std::size_t connections = 1024;             ///< of each thread; more wait in the kernel's queue
  std::chrono::milliseconds timeout{60'000};  ///< of a client that neither asks nor takes anything
  std::chrono::milliseconds grace{10'000};    ///< for what is being sent when the server is to end
  std::chrono::milliseconds revalidate{
      1000};                      ///< how long an open file is believed to be the path's
  std::size_t open_files = 1024;  ///< kept open by each thread
  bool list_directories = false;
  bool measure_stalls = false;
};

}  // namespace http_file_server
