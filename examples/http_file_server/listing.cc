#include "listing.hpp"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "file_cache.hpp"
#include "response.hpp"
#include "target.hpp"

namespace http_file_server {
namespace {

std::string escaped(std::string_view text) {
  std::string made;
  for (const char c : text) {
    switch (c) {
      case '&':
        made += "&amp;";
        break;
      case '<':
        made += "&lt;";
        break;
      case '>':
        made += "&gt;";
        break;
      case '"':
        made += "&quot;";
        break;
      default:
        made.push_back(c);
    }
  }
  return made;
}

std::string page_of(std::string_view path, const std::vector<weir::directory_entry>& entries) {
  const std::string title = "/" + escaped(path);
  std::string page;
  append(page, "<!DOCTYPE html><title>", title, "</title><h1>", title, "</h1>\n<ul>\n");
  if (!path.empty()) page += "<li><a href=\"../\">../</a></li>\n";
  for (const auto& entry : entries) {
    const auto* slash = entry.type == weir::entry_type::directory ? "/" : "";
    // "./" keeps a name with a colon from being taken for a scheme.
    append(page, "<li><a href=\"./", encoded(entry.name), slash, "\">", escaped(entry.name), slash,
           "</a></li>\n");
  }
  page += "</ul>\n";
  return page;
}

}  // namespace

weir::task<weir::result<std::string>> list_page(weir::io_context& context, int root,
                                                std::string path) {
  auto options = beneath(root);
  options.only_directory = true;
  const std::string_view name = path.empty() ? std::string_view(".") : path;
  auto opened = co_await weir::open(context, name, options);
  if (!opened) co_return std::unexpected(opened.error());
  weir::directory_reader reader(std::move(*opened));
  std::vector<weir::directory_entry> entries;
  for (;;) {
    auto some = co_await reader.next();
    if (!some) co_return std::unexpected(some.error());
    if (some->empty()) break;
    std::ranges::move(*some, std::back_inserter(entries));
  }
  std::ranges::sort(entries, {}, &weir::directory_entry::name);
  co_return page_of(path, entries);
}

}  // namespace http_file_server
