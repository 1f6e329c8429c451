#include "simulated/file_system.hpp"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "perform.hpp"
#include "simulated/descriptors.hpp"

namespace weir::detail::simulated {
namespace {

bool is_transfer(opcode op) noexcept {
  return op == opcode::read || op == opcode::write || op == opcode::readv || op == opcode::writev;
}

bool writes(opcode op) noexcept {
  return op == opcode::write || op == opcode::writev || op == opcode::fallocate ||
         op == opcode::ftruncate;
}

// For others, these may hold addresses, which differ from run to run.
bool has_offset(opcode op) noexcept {
  return is_transfer(op) || writes(op) || op == opcode::copy_file_range;
}

// As poll(2) has it of every regular file.
std::int32_t poll_file(std::uint32_t events) noexcept {
  constexpr std::uint32_t always = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
  const std::uint32_t ready = events & always;
  return ready != 0 ? static_cast<std::int32_t>(ready) : -EINVAL;
}

std::int32_t advise(std::uint32_t advice) noexcept {
  return advice <= POSIX_FADV_NOREUSE ? 0 : -EINVAL;
}

}  // namespace

file_system::file_system(const simulated_options& options, const std::int64_t& now_ns)
    : options_(options), clock_ns_(now_ns), fate_(options), trace_(options.trace) {}

file_system::file_system(const file_system& other, const simulated_options& options,
                         const std::int64_t& now_ns)
    : options_(options),
      clock_ns_(now_ns),
      fate_(options),
      trace_(options.trace),
      tree_(other.tree_),
      used_pages_(other.used_pages_),
      waiting_pages_(other.waiting_pages_),
      sequence_(other.sequence_),
      dirty_(other.dirty_) {
  std::vector<inode*> unnamed;
  tree_.for_each([&](inode& each) {
    each.opened = 0;
    if (each.links == 0) unnamed.push_back(&each);
  });
  for (inode* each : unnamed) let_go(*each);
}

std::int32_t file_system::carry_out(const request& what, std::uint64_t number,
                                    std::uint32_t client) {
  now_ = {.number = number};
  const std::int32_t answer = begin(what);
  trace_.add({.op = what.op,
              .client = client,
              .answer = answer,
              .at_ns = clock_ns_,
              .number = number,
              .file = now_.file != nullptr ? now_.file->number : 0,
              .offset = has_offset(what.op) ? what.offset : 0,
              .length = has_offset(what.op) ? what.length : 0,
              .names = std::move(now_.names)});
  write_back_in_passing();
  return answer;
}

void file_system::meet(const simulated_fault_at& fault, const inode* of, std::string names) {
  fate_.met(fault);
  trace_.add({.what = event::kind::fault,
              .fault = fault.what,
              .part = fault.part,
              .at_ns = clock_ns_,
              .number = fault.operation,
              .file = of != nullptr ? of->number : 0,
              .names = std::move(names)});
}

// What befalls an operation before it has had any effect.
std::int32_t file_system::begin(const request& what) {
  if (out_of_range(what)) return -EINVAL;
  if (what.op == opcode::close) return close(what.fd);
  if (befalls(simulated_fault::interrupted)) {
    meet({now_.number, 0, simulated_fault::interrupted});
    return -EINTR;
  }
  if (is_transfer(what.op) && befalls(simulated_fault::would_block)) {
    meet({now_.number, 0, simulated_fault::would_block});
    return -EAGAIN;
  }
  if (writes(what.op) && befalls(simulated_fault::io_error)) {
    meet({now_.number, 0, simulated_fault::io_error});
    return -EIO;
  }
  return dispatch(what);
}

std::int32_t file_system::dispatch(const request& what) {
  switch (what.op) {
    case opcode::openat:
      return open(what);
    case opcode::openat2:
      return open_how(what);
    case opcode::statx:
      return status(what);
    case opcode::renameat:
      return rename(what);
    case opcode::unlinkat:
      return unlink(what);
    case opcode::mkdirat:
      return make_directory(what);
    case opcode::linkat:
      return link(what);
    case opcode::symlinkat:
      return make_symlink(what);
    case opcode::copy_file_range:
    case opcode::clone_range:
      return copy(what);
    case opcode::madvise:
      return perform(what);
    case opcode::nop:
    case opcode::timeout:
    case opcode::register_memory:
    case opcode::forget_memory:
      return 0;
    case opcode::cancel:
      return -ENOENT;
    default:
      return dispatch_on_file(what);
  }
}

// What is asked of a descriptor.
std::int32_t file_system::dispatch_on_file(const request& what) {
  open_file* const opened = descriptor(what.fd);
  if (opened == nullptr || (opened->flags & O_PATH) != 0) return -EBADF;
  now_.file = opened->file;
  switch (what.op) {
    case opcode::read:
    case opcode::write:
    case opcode::readv:
    case opcode::writev:
      return transfer(what, *opened);
    case opcode::fsync:
    case opcode::fdatasync:
      return sync(*opened->file);
    case opcode::ftruncate:
      return truncate(what, *opened);
    case opcode::fallocate:
      return allocate(what, *opened);
    case opcode::fadvise:
      return advise(what.flags);
    case opcode::sync_file_range:  // starts and awaits writes; durable is nothing by it
      return what.offset + what.length > INT64_MAX ? -EINVAL : 0;
    case opcode::splice:  // wants a pipe
      return -EINVAL;
    case opcode::getdents:
      return read_directory(what, *opened);
    case opcode::fgetxattr:
      return get_attribute(what, *opened->file);
    case opcode::fsetxattr:
      return set_attribute(what, *opened->file);
    case opcode::poll:
      return poll_file(what.flags);
    default:
      return -EINVAL;
  }
}

// --- descriptors ---------------------------------------------------------------------------------

open_file* file_system::descriptor(std::int32_t fd) noexcept {
  if (fd < first_descriptor) return nullptr;
  const auto index = static_cast<std::size_t>(fd - first_descriptor);
  if (index >= descriptors_.size() || descriptors_[index].file == nullptr) return nullptr;
  return &descriptors_[index];
}

std::int32_t file_system::install(inode& file, std::uint32_t flags) {
  auto unused = std::ranges::find(descriptors_, nullptr, &open_file::file);
  if (unused == descriptors_.end()) {
    if (descriptors_.size() == most_descriptors) return -EMFILE;
    unused = descriptors_.emplace(unused);
  }
  *unused = {.file = &file, .flags = flags};
  ++file.opened;
  return first_descriptor + static_cast<std::int32_t>(unused - descriptors_.begin());
}

std::int32_t file_system::close(std::int32_t fd) noexcept {
  open_file* const opened = descriptor(fd);
  if (opened == nullptr) return -EBADF;
  now_.file = nullptr;  // it may be gone in a moment
  inode& file = *std::exchange(opened->file, nullptr);
  --file.opened;
  let_go(file);
  return 0;
}

// With its last name and its last descriptor, a file's pages go; the disk may still have it.
void file_system::let_go(inode& file) noexcept {
  if (file.links != 0 || file.opened != 0) return;
  forget_waiting(file);
  used_pages_ -= file.now.pages.count();
  file.now = {};
  tree_.drop_if_unused(file);
}

void file_system::restart() {
  tree_.restart();
  descriptors_.clear();
  dirty_.clear();
  waiting_pages_ = 0;
  used_pages_ = 0;
  tree_.for_each([this](inode& each) { used_pages_ += each.now.pages.count(); });
}

}  // namespace weir::detail::simulated
