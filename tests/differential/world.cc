#include "differential/world.hpp"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <memory>
#include <sstream>
#include <system_error>
#include <utility>

#include "differential/asking.hpp"
#include "weir/buffer.hpp"

namespace weir::testing::differential {
namespace {

// Where an operation's own memory lies behind the pages that it may move.
constexpr std::size_t memory_size = transfer_most + page;
constexpr std::size_t attribute_most = 64;

bool is_vectored(opcode op) { return op == opcode::readv || op == opcode::writev; }
bool reads(opcode op) { return op == opcode::read || op == opcode::readv; }
bool writes(opcode op) { return op == opcode::write || op == opcode::writev; }
bool opens(opcode op) { return op == opcode::openat || op == opcode::openat2; }

std::string name_of(std::size_t number) {
  if (number < names.size()) return std::string(names[number]);
  return number == long_name ? std::string(NAME_MAX + 1, 'n') : std::string();
}

std::uint64_t address_of(const void* what) { return reinterpret_cast<std::uintptr_t>(what); }

std::byte byte_at(std::size_t place, std::uint8_t seed) {
  return static_cast<std::byte>(place * 7 + place / 256 + seed);
}

bool may_answer_cancel(std::int32_t answer) {
  return answer == 0 || answer == -ENOENT || answer == -EALREADY;
}

}  // namespace

/// What an operation borrows until it has completed.
struct world::workspace {
  buffer memory{memory_size};
  std::array<iovec, 3> vector{};
  struct statx status{};
  open_how how{};
  std::string path;
  std::string second_path;
  std::string attribute;
};

world::world(io_context& context, const contestant& whose, std::string root)
    : context_(context), kernel_files_(whose.kernel_files) {
  // Below another, so that ".." is not shared either.
  for (const char* below : {"", "/tree"}) {
    root += below;
    ask({.op = opcode::mkdirat, .fd = AT_FDCWD, .mode = 0700, .address = root.data()});
  }
  root_ = ask({.op = opcode::openat,
               .fd = AT_FDCWD,
               .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
               .address = root.data()});
  if (root_ < 0) throw std::system_error(-root_, std::system_category(), root);
  if (kernel_files_ && ::pipe2(pipe_.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    throw std::system_error(errno, std::system_category(), "pipe2");
  }
}

world::~world() {
  for (std::size_t slot = 0; slot < slots; ++slot) replace(slot, {});
  ask({.op = opcode::close, .fd = root_});
  for (const int end : pipe_) {
    if (end >= 0) ::close(end);
  }
}

std::int32_t world::ask(const request& what) const { return differential::ask(context_, what); }

std::vector<std::string> world::carry_out(const step& together) {
  const planned& first = together.operations.front();
  switch (together.what) {
    case step::kind::alone:
      return {carry_out_alone(first)};
    case step::kind::together:
    case step::kind::paths:
      return carry_out_together(together.operations);
    case step::kind::cancelled:
      return {carry_out_cancelled(first)};
    case step::kind::never_ready:
      return {wait_in_vain()};
    case step::kind::pipe_out:
      return {splice_out(first)};
    case step::kind::pipe_in:
      return {splice_in(first)};
  }
  return {};
}

std::vector<std::string> world::state(io_context& observer) const {
  std::vector<std::string> lines;
  for (const open_slot& each : open_) lines.push_back("open: " + status_of(observer, each.fd));
  const auto tree = tree_of(observer, root_);
  lines.insert(lines.end(), tree.begin(), tree.end());
  return lines;
}

// --- one operation -------------------------------------------------------------------------------

std::string world::carry_out_alone(const planned& asked_for) {
  const planned what = made_lawful(asked_for);
  if (what.op == opcode::getdents) return listing(what);
  workspace in;
  return settle(what, ask(prepare(what, in)), in);
}

// In the order that they have in a directory, entries may differ; which there are may not.
std::string world::listing(const planned& what) {
  std::string seen = "entries:";
  for (const std::string& each : entries_of(context_, open_[what.slot].fd)) seen += ' ' + each;
  return seen;
}

// What the kernel does with a misaligned transfer past the page cache depends on how the file lies
// on the disk: it may have moved the part that was aligned before it refuses the rest.
planned world::made_lawful(planned what) const {
  const bool direct = open_[what.slot].direct;
  const bool between = what.op == opcode::copy_file_range || what.op == opcode::clone_range;
  if (between && (direct || open_[what.second_slot].direct)) return {};
  if (!direct || (!reads(what.op) && !writes(what.op))) return what;
  if (writes(what.op) && open_[what.slot].appends) return {};
  what.offset -= what.offset % page;
  what.length -= what.length % page;
  what.flags &= ~static_cast<std::uint32_t>(RWF_APPEND);
  return what;
}

request world::prepare(const planned& what, workspace& in) const {
  in.path = name_of(what.name);
  in.second_path = name_of(what.second_name);
  in.attribute = what.name % 2 == 0 ? "user.one" : "user.two";
  request made{.op = what.op,
               .fd = open_[what.slot].fd,
               .flags = what.flags,
               .mode = what.mode,
               .offset = what.offset,
               .length = what.length};
  const auto by_path = [&](const void* second) {
    made.fd = root_;
    made.address = in.path.data();
    made.offset = address_of(second);
    made.length = 0;
  };
  switch (what.op) {
    case opcode::read:
    case opcode::write:
    case opcode::readv:
    case opcode::writev:
      prepare_transfer(what, in, made);
      break;
    case opcode::openat:
    case opcode::unlinkat:
    case opcode::mkdirat:
      by_path(nullptr);
      break;
    case opcode::openat2:
      in.how = {.flags = what.flags, .mode = what.mode, .resolve = RESOLVE_BENEATH};
      by_path(&in.how);
      made.flags = 0;
      made.mode = 0;
      made.length = sizeof in.how;
      break;
    case opcode::statx:
      by_path(&in.status);
      made.mode = STATX_BASIC_STATS;
      break;
    case opcode::renameat:
    case opcode::linkat:
    case opcode::symlinkat:
      by_path(in.second_path.data());
      made.mode = static_cast<std::uint32_t>(root_);
      break;
    case opcode::fgetxattr:
    case opcode::fsetxattr:
      std::ranges::fill(in.memory.first(attribute_most), std::byte{what.seed});
      made.address = in.memory.data();
      made.offset = address_of(in.attribute.data());
      break;
    case opcode::copy_file_range:
    case opcode::clone_range:
      made.mode = static_cast<std::uint32_t>(open_[what.second_slot].fd);
      made.address = reinterpret_cast<void*>(what.second_offset);
      break;
    default:
      break;
  }
  return made;
}

void world::prepare_transfer(const planned& what, workspace& in, request& made) const {
  if (open_[what.slot].direct) made.hints = hint::direct;
  made.address = what.no_memory ? nullptr : in.memory.data();
  if (writes(what.op)) {
    for (std::size_t i = 0; i < what.length; ++i) in.memory.data()[i] = byte_at(i, what.seed);
  }
  if (!is_vectored(what.op)) return;
  const std::size_t first = what.length / 3 / page * page;
  in.vector = {{{in.memory.data(), first},
                {in.memory.data() + first, 0},
                {in.memory.data() + first, what.length - first}}};
  made.address = in.vector.data();
  made.length = in.vector.size();
}

// What can be seen, and what it changes here.
std::string world::settle(const planned& what, std::int32_t answer, const workspace& in) {
  std::ostringstream seen;
  seen << what << ": ";
  if (opens(what.op) && answer >= 0) {
    replace(what.slot, {.fd = answer,
                        .direct = (what.flags & O_DIRECT) != 0,
                        .appends = (what.flags & O_APPEND) != 0});
    seen << "opened " << status_of(context_, answer);
    return seen.str();
  }
  seen << answer;
  if (what.op == opcode::close && answer == 0) open_[what.slot] = {};
  if (answer > 0 && (reads(what.op) || what.op == opcode::fgetxattr)) {
    seen << ' ' << digest(in.memory.first(static_cast<std::size_t>(answer)));
  }
  if (what.op == opcode::statx && answer == 0) {
    seen << " mode " << in.status.stx_mode;
    if (!S_ISDIR(in.status.stx_mode)) {
      seen << " size " << in.status.stx_size << " links " << in.status.stx_nlink;
    }
  }
  return seen.str();
}

void world::replace(std::size_t slot, const open_slot& by) {
  const open_slot before = std::exchange(open_[slot], by);
  if (before.fd >= 0) ask({.op = opcode::close, .fd = before.fd});
}

// --- several -------------------------------------------------------------------------------------

// None reads where another moves the end of the file, and each has its own place: that is not so
// where all are appended.
planned world::within_file(planned what, std::uint64_t size) const {
  if (reads(what.op) && what.offset + what.length > size) {
    what.op = is_vectored(what.op) ? opcode::writev : opcode::write;
  }
  if (writes(what.op) && open_[what.slot].appends) return {};
  return made_lawful(what);
}

std::vector<std::string> world::carry_out_together(const std::vector<planned>& operations) {
  struct statx about{};
  std::array<char, 1> empty{};
  // Where it cannot be told, all of them will fail.
  ask({.op = opcode::statx,
       .fd = open_[operations.front().slot].fd,
       .flags = AT_EMPTY_PATH,
       .mode = STATX_SIZE,
       .address = empty.data(),
       .offset = address_of(&about)});
  struct part {
    planned what;
    workspace in;
    asked op{request{}};
  };
  std::vector<std::unique_ptr<part>> parts;
  for (const planned& each : operations) {
    auto& made = *parts.emplace_back(std::make_unique<part>());
    made.what = opens(each.op) ? each : within_file(each, about.stx_size);
    made.op.args = prepare(made.what, made.in);
  }
  for (const auto& each : parts) context_.start(each->op);
  context_.run();
  std::vector<std::string> seen;
  for (const auto& each : parts) seen.push_back(settle(each->what, each->op.answer(), each->in));
  return seen;
}

// A read that has not been done, or that is what it is when nobody cancels it.
std::string world::carry_out_cancelled(const planned& asked_for) {
  const planned what = made_lawful(asked_for);
  workspace in;
  asked read(prepare(what, in));
  asked cancel(cancel_request(read));
  context_.start(read);
  context_.start(cancel);
  context_.run();
  workspace again;
  const std::int32_t undisturbed = ask(prepare(what, again));
  const std::int32_t got = read.answer();
  if (!may_answer_cancel(cancel.answer())) return "cancel: " + std::to_string(cancel.answer());
  if (got == -ECANCELED || (got < 0 && got == undisturbed)) return "as it should";
  if (got < 0 || got > undisturbed) return "a cancelled read: " + std::to_string(got);
  const auto count = static_cast<std::size_t>(got);
  const bool same = std::ranges::equal(in.memory.first(count), again.memory.first(count));
  return same ? "as it should" : "a cancelled read: other bytes";
}

std::string world::wait_in_vain() {
  request what{.op = opcode::timeout, .offset = INT64_MAX};
  if (kernel_files_) what = {.op = opcode::poll, .fd = pipe_[0], .flags = POLLIN};
  asked wait(what);
  asked cancel(cancel_request(wait));
  context_.start(wait);
  context_.start(cancel);
  context_.run();
  return std::to_string(wait.answer()) +
         (may_answer_cancel(cancel.answer()) ? ", cancelled" : ", not cancelled");
}

// --- pipes ---------------------------------------------------------------------------------------

std::string world::drained() {
  std::array<std::byte, transfer_most> bytes;
  const ssize_t count = ::read(pipe_[0], bytes.data(), bytes.size());
  if (count <= 0) return "nothing";
  return digest(std::span(bytes).first(static_cast<std::size_t>(count)));
}

std::string world::splice_out(const planned& what) {
  const std::int32_t moved = ask({.op = opcode::splice,
                                  .fd = open_[what.slot].fd,
                                  .mode = static_cast<std::uint32_t>(pipe_[1]),
                                  .address = reinterpret_cast<void*>(UINT64_MAX),
                                  .offset = what.offset,
                                  .length = what.length});
  return "spliced out " + std::to_string(moved) + ": " + drained();
}

std::string world::splice_in(const planned& what) {
  if (open_[what.slot].direct) return "";
  std::vector<std::byte> bytes(what.length);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = byte_at(i, what.seed);
  if (::write(pipe_[1], bytes.data(), bytes.size()) < 0) return "nothing to splice";
  const std::int32_t moved = ask({.op = opcode::splice,
                                  .fd = pipe_[0],
                                  .mode = static_cast<std::uint32_t>(open_[what.slot].fd),
                                  .address = reinterpret_cast<void*>(what.offset),
                                  .offset = UINT64_MAX,
                                  .length = what.length});
  return "spliced in " + std::to_string(moved) + ", left " + drained();
}

// --- two of them ---------------------------------------------------------------------------------

namespace {

std::string difference(const std::vector<std::string>& tested,
                       const std::vector<std::string>& expected) {
  const auto [one, other] = std::ranges::mismatch(tested, expected);
  if (one == tested.end() && other == expected.end()) return "";
  const std::string nothing = "(nothing)";
  return "\n  it was:       " + (one != tested.end() ? *one : nothing) +
         "\n  it should be: " + (other != expected.end() ? *other : nothing);
}

bool needs_pipe(const step& which) {
  return which.what == step::kind::pipe_in || which.what == step::kind::pipe_out;
}

// How long a file is after a write past the page cache that had no memory differs between file
// systems (ext4's has grown up to its beginning).
bool is_of_the_kernel(const step& which) {
  return needs_pipe(which) || std::ranges::any_of(which.operations, &planned::no_memory);
}

std::string difference_of_worlds(const std::vector<step>& script, const contestant& who,
                                 world& tested, world& expected, io_context& observer,
                                 io_context& sync) {
  std::string before = "after";
  for (const step& each : script) {
    if (is_of_the_kernel(each) && !who.kernel_files) continue;
    const auto answers = expected.carry_out(each);
    const auto seen = difference(tested.carry_out(each), answers);
    if (!seen.empty()) return before + seen;
    for (const std::string& answer : answers) before += "\n    " + answer;
  }
  const auto left = difference(tested.state(observer), expected.state(sync));
  return left.empty() ? "" : before + "\n  there is left" + left;
}

}  // namespace

std::string compare(const std::vector<step>& script, const contestant& who, io_context& tested,
                    io_context& sync, const std::string& directory) {
  static std::uint64_t worlds = 0;  // a disk of its own has no such directory, and keeps its trees
  const std::string tree =
      who.kernel_files ? directory + "/tested" : "/tested" + std::to_string(++worlds);
  const std::string model = directory + "/expected";
  std::string seen;
  {
    world one(tested, who, tree);
    world other(sync, {.driver = "sync"}, model);
    io_context& observer = who.kernel_files ? sync : tested;
    seen = difference_of_worlds(script, who, one, other, observer, sync);
  }
  if (who.kernel_files) std::filesystem::remove_all(tree);
  std::filesystem::remove_all(model);
  return seen;
}

}  // namespace weir::testing::differential
