#pragma once

#include <string>

#include <weir/weir.hpp>

namespace http_file_server {

/// An HTML page with a link to each entry of the directory `path` beneath `root`. Errors: those of
/// openat2(2) and getdents64(2).
weir::task<weir::result<std::string>> list_page(weir::io_context& context, int root,
                                                std::string path);

}  // namespace http_file_server
