#include "differential/asking.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <string_view>

namespace weir::testing::differential {
namespace {

constexpr std::size_t block = std::size_t{64} << 10;

struct entry {
  std::string name;
  unsigned char type;
  auto operator<=>(const entry&) const = default;
};

void append_entries(std::span<const std::byte> raw, std::vector<entry>& to) {
  constexpr std::size_t name_at = offsetof(dirent64, d_name);
  while (raw.size() > name_at) {
    dirent64 head{};
    std::memcpy(&head, raw.data(), name_at);
    to.push_back({reinterpret_cast<const char*>(raw.data()) + name_at, head.d_type});
    raw = raw.subspan(head.d_reclen);
  }
}

std::int32_t read_entries(io_context& context, int directory, std::vector<entry>& to) {
  std::vector<std::byte> raw(block);
  for (;;) {
    const std::int32_t count =
        ask(context,
            {.op = opcode::getdents, .fd = directory, .address = raw.data(), .length = raw.size()});
    if (count <= 0) {
      std::ranges::sort(to);
      return count;
    }
    append_entries(std::span(raw).first(static_cast<std::size_t>(count)), to);
  }
}

int open_at(io_context& context, int directory, std::string name, int flags) {
  return ask(context, {.op = opcode::openat,
                       .fd = directory,
                       .flags = static_cast<std::uint32_t>(flags | O_CLOEXEC),
                       .address = name.data()});
}

void close(io_context& context, int fd) { ask(context, {.op = opcode::close, .fd = fd}); }

std::string contents(io_context& context, int file) {
  std::vector<std::byte> all;
  for (std::int32_t count = 1; count > 0;) {
    const std::size_t known = all.size();
    all.resize(known + block);
    count = ask(context, {.op = opcode::read,
                          .fd = file,
                          .address = all.data() + known,
                          .offset = known,
                          .length = block});
    all.resize(known + static_cast<std::size_t>(std::max(count, 0)));
    if (count < 0) return "error " + std::to_string(count);
  }
  return digest(all);
}

std::string attribute(io_context& context, int file, const char* name) {
  std::array<std::byte, 256> value{};
  const std::int32_t size = ask(context, {.op = opcode::fgetxattr,
                                          .fd = file,
                                          .address = value.data(),
                                          .offset = reinterpret_cast<std::uintptr_t>(name),
                                          .length = value.size()});
  if (size < 0) return std::to_string(size);
  return digest(std::span(value).first(static_cast<std::size_t>(size)));
}

void describe(io_context& context, int directory, const std::string& prefix,
              std::vector<std::string>& lines) {
  std::vector<entry> found;
  const std::int32_t failed = read_entries(context, directory, found);
  if (failed != 0) lines.push_back(prefix + ": error " + std::to_string(failed));
  for (const entry& each : found) {
    if (each.name == "." || each.name == "..") continue;
    const bool opens = each.type == DT_REG || each.type == DT_DIR;
    const int how = O_NOFOLLOW | (opens ? O_RDONLY : O_PATH);
    const int file = open_at(context, directory, each.name, how);
    std::string line = prefix + each.name + ": type " + std::to_string(each.type) + ", " +
                       status_of(context, file);
    if (opens) {
      line += ", attributes " + attribute(context, file, "user.one") + ' ' +
              attribute(context, file, "user.two");
    }
    if (each.type == DT_REG) line += ", contents " + contents(context, file);
    lines.push_back(std::move(line));
    if (each.type == DT_DIR) describe(context, file, prefix + each.name + '/', lines);
    close(context, file);
  }
}

}  // namespace

std::int32_t ask(io_context& context, const request& what) {
  asked op(what);
  context.start(op);
  context.run();
  return op.answer();
}

std::string digest(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return std::to_string(bytes.size()) + " bytes " +
         std::to_string(std::hash<std::string_view>{}(text));
}

std::vector<std::string> entries_of(io_context& context, int directory) {
  std::vector<entry> found;
  const int again = open_at(context, directory, ".", O_RDONLY | O_DIRECTORY);
  const std::int32_t failed = read_entries(context, again >= 0 ? again : directory, found);
  if (again >= 0) close(context, again);
  std::vector<std::string> lines;
  if (failed != 0) lines.push_back("error " + std::to_string(failed));
  for (const entry& each : found) lines.push_back(each.name + ' ' + std::to_string(each.type));
  return lines;
}

std::string status_of(io_context& context, int fd) {
  struct statx about{};
  std::array<char, 1> empty{};
  const std::int32_t failed = ask(context, {.op = opcode::statx,
                                            .fd = fd,
                                            .flags = AT_EMPTY_PATH,
                                            .mode = STATX_BASIC_STATS,
                                            .address = empty.data(),
                                            .offset = reinterpret_cast<std::uintptr_t>(&about)});
  if (failed != 0) return "error " + std::to_string(failed);
  std::string text = "mode " + std::to_string(about.stx_mode);
  // What a directory takes is the file system's own affair.
  if (S_ISDIR(about.stx_mode)) return text;
  return text + ", size " + std::to_string(about.stx_size) + ", links " +
         std::to_string(about.stx_nlink);
}

std::vector<std::string> tree_of(io_context& context, int root) {
  std::vector<std::string> lines;
  const int again = open_at(context, root, ".", O_RDONLY | O_DIRECTORY);
  if (again < 0) return {"the root: error " + std::to_string(again)};
  describe(context, again, "", lines);
  close(context, again);
  return lines;
}

}  // namespace weir::testing::differential
