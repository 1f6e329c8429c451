#include "differential/script.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#include <algorithm>
#include <ostream>

#include "support/choices.hpp"

namespace weir::testing::differential {
namespace {

constexpr std::size_t steps_most = 64;
constexpr std::size_t together_most = 8;
constexpr std::uint64_t file_most = 64 * page;

constexpr std::uint32_t flag(int bits) { return static_cast<std::uint32_t>(bits); }

// Mostly within the first pages; now and then on a page's edge, far away, or nowhere.
std::uint64_t offset_from(choices& by) {
  switch (by.below(8)) {
    case 0:
      return by.below(16) * page;
    case 1:
      return by.below(16) * page + page - 1;
    case 2:
      return by.below(file_most);
    case 3:
      return UINT64_MAX - by.below(3);
    case 4:
      return static_cast<std::uint64_t>(INT64_MAX) - by.below(2 * page);
    default:
      return by.below(256);
  }
}

std::uint64_t length_from(choices& by, std::uint64_t most = transfer_most) {
  return by.one_in(4) ? by.below(most + 1) : std::min<std::uint64_t>(by.below(256), most);
}

std::uint32_t some_of(choices& by, std::span<const std::uint32_t> flags) {
  std::uint32_t chosen = 0;
  for (unsigned count = by.byte() % 4; count > 0; --count) chosen |= by.one_of(flags);
  return chosen;
}

// --- one operation -------------------------------------------------------------------------------

// Of two mistakes the kernel names the one that it sees first. What is wrong with a name a ring
// sees before everything else, a system call when it comes to that name.
void one_mistake_at_most(planned& what) {
  what.name %= names.size();
  what.second_name %= names.size();
}

void choose_open(planned& what, choices& by) {
  static constexpr std::array ways = {flag(O_RDWR | O_CREAT), flag(O_RDWR), flag(O_RDONLY),
                                      flag(O_WRONLY | O_CREAT), flag(O_RDONLY | O_DIRECTORY)};
  static constexpr std::array more = {
      flag(O_EXCL),     flag(O_TRUNC),    flag(O_APPEND),  flag(O_DIRECT), flag(O_DSYNC),
      flag(O_NOFOLLOW), flag(O_NONBLOCK), flag(O_NOATIME), flag(O_PATH),   flag(O_TMPFILE)};
  what.op = by.one_in(4) ? opcode::openat2 : opcode::openat;
  what.flags = by.one_of(ways) | some_of(by, more) | O_CLOEXEC;
  if (what.flags != (O_RDONLY | O_CLOEXEC)) one_mistake_at_most(what);
  const bool creates = (what.flags & O_CREAT) != 0 || (what.flags & O_TMPFILE) == O_TMPFILE;
  what.mode = creates ? 0600 | (by.byte() & 077) : 0;
}

void choose_transfer(planned& what, choices& by) {
  static constexpr std::array ops = {opcode::read, opcode::write, opcode::readv, opcode::writev};
  static constexpr std::array policies = {flag(RWF_DSYNC), flag(RWF_SYNC), flag(RWF_APPEND)};
  what.op = by.one_of(ops);
  what.offset = offset_from(by);
  what.length = length_from(by);
  what.seed = by.byte();
  const bool writes = what.op == opcode::write || what.op == opcode::writev;
  if (writes && by.one_in(8)) what.flags = some_of(by, policies);
  const bool vectored = what.op == opcode::readv || what.op == opcode::writev;
  what.no_memory = !vectored && by.one_in(32);
}

void choose_change_of_size(planned& what, choices& by) {
  static constexpr std::array modes = {flag(0), flag(FALLOC_FL_KEEP_SIZE),
                                       flag(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE),
                                       flag(FALLOC_FL_ZERO_RANGE), flag(FALLOC_FL_PUNCH_HOLE)};
  what.op = by.one_in(2) ? opcode::fallocate : opcode::ftruncate;
  what.offset = offset_from(by);
  // A file as large as that would take for ever to look at.
  if (what.offset > file_most && what.offset <= INT64_MAX) what.offset %= file_most;
  if (what.op == opcode::ftruncate) return;
  what.mode = by.one_of(modes);
  what.length = length_from(by);
}

void choose_sync(planned& what, choices& by) {
  static constexpr std::array ops = {opcode::fdatasync, opcode::fsync, opcode::sync_file_range,
                                     opcode::fadvise};
  what.op = by.one_of(ops);
  if (what.op == opcode::fsync || what.op == opcode::fdatasync) return;
  what.offset = offset_from(by);
  what.length = length_from(by);
  what.flags = by.byte() % 8;
}

void choose_path_operation(planned& what, choices& by) {
  static constexpr std::array ops = {opcode::mkdirat, opcode::unlinkat,  opcode::renameat,
                                     opcode::linkat,  opcode::symlinkat, opcode::statx};
  static constexpr std::array ways_to_rename = {flag(0), flag(RENAME_NOREPLACE),
                                                flag(RENAME_EXCHANGE)};
  what.op = by.one_of(ops);
  const bool has_two_paths =
      what.op == opcode::renameat || what.op == opcode::linkat || what.op == opcode::symlinkat;
  if (has_two_paths) one_mistake_at_most(what);
  switch (what.op) {
    case opcode::mkdirat:
      what.mode = 0700 | (by.byte() & 077);
      break;
    case opcode::unlinkat:
      what.flags = by.one_in(2) ? flag(AT_REMOVEDIR) : 0;
      break;
    case opcode::renameat:
      what.flags = by.one_of(ways_to_rename);
      break;
    case opcode::linkat:
      what.flags = by.one_in(2) ? flag(AT_SYMLINK_FOLLOW) : 0;
      break;
    case opcode::statx:
      what.flags = by.one_in(2) ? flag(AT_SYMLINK_NOFOLLOW) : 0;
      break;
    default:
      break;
  }
}

void choose_attribute(planned& what, choices& by) {
  what.op = by.one_in(2) ? opcode::fgetxattr : opcode::fsetxattr;
  what.length = by.below(64);
  what.seed = by.byte();
  if (what.op == opcode::fsetxattr) what.flags = by.byte() % 3;  // XATTR_CREATE, XATTR_REPLACE
}

void choose_copy(planned& what, choices& by) {
  what.op = by.one_in(8) ? opcode::clone_range : opcode::copy_file_range;
  what.offset = offset_from(by);
  what.second_offset = offset_from(by);
  if (what.second_offset > file_most && what.second_offset <= INT64_MAX) {
    what.second_offset %= file_most;
  }
  what.length = length_from(by);
}

planned choose(choices& by) {
  planned what{.slot = by.below(slots),
               .second_slot = by.below(slots),
               .name = by.below(name_count),
               .second_name = by.below(name_count)};
  switch (by.below(12)) {
    case 0:
    case 1:
      choose_open(what, by);
      break;
    case 2:
    case 3:
    case 4:
      choose_transfer(what, by);
      break;
    case 5:
      choose_change_of_size(what, by);
      break;
    case 6:
      choose_sync(what, by);
      break;
    case 7:
    case 8:
      choose_path_operation(what, by);
      break;
    case 9:
      choose_attribute(what, by);
      break;
    case 10:
      choose_copy(what, by);
      break;
    default:
      what.op = by.one_in(4) ? opcode::close : opcode::getdents;
      break;
  }
  return what;
}

// --- several -------------------------------------------------------------------------------------

// Each has a window of the file for itself. Whether one that would read may, or is to write, is
// known when the file's size is.
step transfers_together(choices& by) {
  static constexpr std::array ops = {opcode::read, opcode::write, opcode::readv, opcode::writev};
  step made{.what = step::kind::together, .operations = {}};
  const std::size_t slot = by.below(slots);
  const bool adjacent = by.one_in(2);
  const std::size_t count = 2 + by.below(together_most - 1);
  const std::uint64_t window = adjacent ? page : 2 * page;
  for (std::size_t i = 0; i < count; ++i) {
    made.operations.push_back({.op = by.one_of(ops),
                               .slot = slot,
                               .offset = (by.one_in(2) ? i : count + i) * window,
                               .length = adjacent ? page : 1 + by.below(window),
                               .seed = by.byte()});
  }
  return made;
}

// Names of one directory, each in one operation only.
step names_together(choices& by) {
  static constexpr std::array ops = {opcode::mkdirat, opcode::unlinkat, opcode::symlinkat,
                                     opcode::openat};
  constexpr std::size_t plain_names = 5;
  step made{.what = step::kind::paths, .operations = {}};
  for (std::size_t name = 0; name < plain_names; ++name) {
    planned what{.op = by.one_of(ops), .slot = name, .name = name, .second_name = name};
    if (what.op == opcode::mkdirat) what.mode = 0700;
    if (what.op == opcode::unlinkat) what.flags = by.one_in(2) ? flag(AT_REMOVEDIR) : 0;
    if (what.op == opcode::symlinkat) what.name = by.below(2) + 5;  // "d/a", which nobody changes
    if (what.op == opcode::openat) {
      what.flags = flag(O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC);
      what.mode = 0600;
    }
    made.operations.push_back(what);
  }
  return made;
}

step one_transfer(step::kind what, choices& by) {
  planned only{.op = opcode::read,
               .slot = by.below(slots),
               .offset = by.below(file_most),
               .length = 1 + length_from(by, transfer_most - 1),
               .seed = by.byte()};
  if (what != step::kind::cancelled) only.op = opcode::splice;
  return {.what = what, .operations = {only}};
}

step choose_step(choices& by) {
  switch (by.below(16)) {
    case 0:
    case 1:
      return transfers_together(by);
    case 2:
      return names_together(by);
    case 3:
      return one_transfer(step::kind::cancelled, by);
    case 4:
      return {.what = step::kind::never_ready, .operations = {planned{.op = opcode::timeout}}};
    case 5:
      return one_transfer(step::kind::pipe_out, by);
    case 6:
      return one_transfer(step::kind::pipe_in, by);
    default:
      return {.what = step::kind::alone, .operations = {choose(by)}};
  }
}

}  // namespace

std::vector<step> script_of(std::span<const std::uint8_t> bytes) {
  choices by(bytes);
  std::vector<step> script;
  while (!by.used_up() && script.size() < steps_most) script.push_back(choose_step(by));
  return script;
}

std::ostream& operator<<(std::ostream& out, const planned& what) {
  return out << "opcode " << static_cast<int>(what.op) << " slots " << what.slot << ' '
             << what.second_slot << " names " << what.name << ' ' << what.second_name << " flags "
             << what.flags << " mode " << what.mode << " offsets " << what.offset << ' '
             << what.second_offset << " length " << what.length
             << (what.no_memory ? " no memory" : "");
}

}  // namespace weir::testing::differential
