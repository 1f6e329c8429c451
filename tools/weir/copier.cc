// A file's way through here: carry_out opens it and its partial copy; copy_blocks moves its blocks,
// with other lanes' help if it is large; finish checks it and gives it its name.

#include "copier.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>

#include "checksum.hpp"
#include "file_system.hpp"

namespace weir::tools {
namespace {

constexpr std::size_t block_size = std::size_t{512} << 10;

// Of offsets, lengths and memory under O_DIRECT. What needs more is copied through the page cache.
constexpr std::size_t direct_alignment = 4096;

std::uint64_t rounded_up(std::uint64_t count, std::size_t to) { return (count + to - 1) / to * to; }

// Pages of it are zeroed by the kernel when first touched: a lane that copies small files touches
// few of them.
buffer mapped_memory(std::size_t size) {
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc{};
  return buffer::adopt({static_cast<std::byte*>(memory), size},
                       [](std::byte* data, std::size_t count) { ::munmap(data, count); });
}

bool out_of_space(std::error_code error) {
  return error == std::errc::no_space_on_device || error.value() == EDQUOT;
}

bool refuses_direct(std::error_code error) {
  return error == std::errc::invalid_argument || error == std::errc::operation_not_supported;
}

}  // namespace

struct copier::block {
  std::uint64_t offset;
  std::size_t length;
  bool last;  // reaches the file's end, as far as was known: more may have come since
};

struct copier::file_copy {
  explicit file_copy(const copy_job& what)
      : job(what),
        size(static_cast<std::uint64_t>(what.status.st_size)),
        sparse(static_cast<std::uint64_t>(what.status.st_blocks) * 512 < size) {}

  bool large() const noexcept { return sparse || size > block_size; }

  std::optional<block> next_block();
  std::optional<block> next_data();

  io_sender read(const file& from, std::span<std::byte> memory, std::uint64_t offset) const {
    const int flags = &from == &source ? source_flags : target_flags;
    return {&from.context(), transfer(opcode::read, from, memory, offset, flags)};
  }
  whole_sender write(std::span<std::byte> memory, std::uint64_t offset) const {
    const request what = transfer(opcode::write, target, memory, offset, target_flags);
    return {&target.context(), what, nullptr};
  }
  request transfer(opcode op, const file& on, std::span<std::byte> memory, std::uint64_t offset,
                   int flags) const {
    return {.op = op,
            .hints = direct ? hint::direct : std::uint8_t{0},
            .fd = on.native_handle(),
            .flags = static_cast<std::uint32_t>(flags),
            .address = memory.data(),
            .offset = offset,
            .length = memory.size()};
  }

  copy_job job;
  std::string partial;  // the name it is written under
  file source;
  file target;
  bool direct = false;
  int source_flags = 0;  // RWF_*, of its file system
  int target_flags = 0;

  std::uint64_t size;  // when it was found; it may shrink and grow meanwhile
  bool sparse;
  std::uint64_t next_offset = 0;
  bool exhausted = false;
  std::uint64_t end = 0;     // of what has been written, padding aside
  std::uint64_t length = 0;  // of the whole copy
  bool seen_end = false;     // a read ended before its block
  bool padded = false;       // O_DIRECT wrote more than the file has
  unsigned lanes = 0;        // working on it
  bool failed = false;
};

std::optional<copier::block> copier::file_copy::next_block() {
  if (exhausted || failed) return std::nullopt;
  if (sparse) {
    const auto data = next_data();
    if (data || exhausted) return data;
    sparse = false;  // nobody can say where the holes are
  }
  // A whole block even where less is left: a read that ends within it has seen the end.
  const block next{next_offset, block_size, next_offset + block_size >= size};
  next_offset += block_size;
  exhausted = next.last;
  return next;
}

// Nothing: only a hole is left, and then it is exhausted; or the file system cannot tell.
std::optional<copier::block> copier::file_copy::next_data() {
  const int fd = source.native_handle();
  const off_t data = ::lseek(fd, static_cast<off_t>(next_offset), SEEK_DATA);
  if (data < 0) {
    exhausted = errno == ENXIO;
    return std::nullopt;
  }
  const off_t hole = ::lseek(fd, data, SEEK_HOLE);
  if (hole < 0) return std::nullopt;
  // Whole blocks of the larger kind, whatever those of the source: the destination may have others.
  const auto begin = static_cast<std::uint64_t>(data) / direct_alignment * direct_alignment;
  const auto until = rounded_up(static_cast<std::uint64_t>(hole), direct_alignment);
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(block_size, until - begin));
  next_offset = begin + count;
  return block{begin, count, false};
}

copier::copier(io_context& context, const copy_options& options, copy_plan& plan, progress& shown,
               failures& failed, const std::atomic<bool>& interrupted)
    : context_(context),
      options_(options),
      plan_(plan),
      progress_(shown),
      failed_(failed),
      interrupted_(interrupted),
      partial_prefix_(".weir-" + std::to_string(::getpid()) + "-") {}

copier::~copier() = default;

// --- lanes ---------------------------------------------------------------------------------------

void copier::run() {
  start_lanes();
  context_.run();
  plan_.finish_directories();
}

void copier::start_lanes() {
  for (unsigned running = lanes_; running < options_.lanes; ++running) spawn(context_, lane());
}

task<> copier::lane() {
  ++lanes_;
  buffer memory;
  if (!idle_buffers_.empty()) {
    memory = std::move(idle_buffers_.back());
    idle_buffers_.pop_back();
  } else {
    memory = mapped_memory(block_size);
  }
  while (!interrupted_) {
    if (const auto copy = large_with_room()) {
      ++copy->lanes;
      co_await copy_blocks(copy, memory);
      continue;
    }
    auto job = gave_up_ ? std::nullopt : plan_.next();
    progress_.expect(plan_.files(), plan_.bytes(), plan_.complete());
    if (!job) break;
    co_await carry_out(*job, memory);
  }
  idle_buffers_.push_back(std::move(memory));
  --lanes_;
}

copier::shared_copy copier::large_with_room() const {
  const auto has_room = [this](const shared_copy& copy) {
    return copy->lanes < options_.lanes_on_one_file;
  };
  const auto found = std::ranges::find_if(large_, has_room);
  return found != large_.end() ? *found : nullptr;
}

task<> copier::carry_out(const copy_job& job, buffer& memory) {
  if (job.what == copy_job::kind::symlink) {
    copy_symlink(job);
    co_return;
  }
  auto copy = std::make_shared<file_copy>(job);
  const bool opened = co_await open_both(*copy);
  if (!opened) co_return;
  ++copy->lanes;  // before others may come, be done and leave
  if (copy->large()) {
    large_.push_back(copy);
    start_lanes();
  }
  co_await copy_blocks(copy, memory);
}

void copier::copy_symlink(const copy_job& job) {
  std::error_code error;
  const auto target = std::filesystem::read_symlink(job.source, error);
  if (error) return failed_.add("read link", job.source, error);
  const std::string partial = next_partial(job.destination);
  std::filesystem::create_symlink(target, partial, error);
  if (error) return failed_.add("make link", job.destination, error);
  const std::array<timespec, 2> times{job.status.st_atim, job.status.st_mtim};
  // A link's times are a nicety: some file systems have none.
  static_cast<void>(::utimensat(AT_FDCWD, partial.c_str(), times.data(), AT_SYMLINK_NOFOLLOW));
  if (const int refused = rename_to(job, partial); refused != 0) {
    failed_.add("make link", job.destination, {refused, std::system_category()});
    return remove_partial(partial);
  }
  ++files_copied_;
  progress_.add_file();
}

// --- opening -------------------------------------------------------------------------------------

task<bool> copier::open_both(file_copy& copy) {
  if (!destination_acceptable(copy)) co_return false;
  copy.direct = options_.direct;
  bool opened = co_await open_source(copy);
  if (opened) opened = co_await open_partial(copy);
  if (!opened && copy.direct && !copy.failed) {
    if (!std::exchange(direct_refusal_told_, true)) {
      failed_.warn(in_quotes(copy.job.destination) +
                   " is copied through the page cache, as are others like it: a file system there "
                   "refuses O_DIRECT");
    }
    copy.direct = false;
    opened = co_await open_source(copy);
    if (opened) opened = co_await open_partial(copy);
  }
  if (opened && options_.drop_cache && !copy.direct) {
    if (accepts_dontcache(copy.source.native_handle())) copy.source_flags = rwf_dontcache;
    if (accepts_dontcache(copy.target.native_handle())) copy.target_flags = rwf_dontcache;
  }
  co_return opened;
}

// False without a failure reported: a file system refused O_DIRECT.
task<bool> copier::open_source(file_copy& copy) {
  const open_options options{.direct = copy.direct};
  auto opened = co_await open(context_, copy.job.source, options);
  if (opened) {
    copy.source = std::move(*opened);
    co_return true;
  }
  if (!copy.direct || !refuses_direct(opened.error())) {
    fail(copy, "open", copy.job.source, opened.error());
  }
  co_return false;
}

task<bool> copier::open_partial(file_copy& copy) {
  const open_options options{.read = options_.verify,
                             .write = true,
                             .create = true,
                             .exclusive = true,
                             .direct = copy.direct,
                             .mode = copy.job.status.st_mode & 0777};
  for (;;) {
    copy.partial = next_partial(copy.job.destination);
    auto opened = co_await open(context_, copy.partial, options);
    if (opened) {
      copy.target = std::move(*opened);
      co_return true;
    }
    if (opened.error() == std::errc::file_exists) continue;  // an earlier run's, killed
    if (copy.direct && refuses_direct(opened.error())) {
      // With O_CREAT the file is made before O_DIRECT is refused.
      ::unlink(copy.partial.c_str());
    } else {
      fail(copy, "write", copy.job.destination, opened.error());
    }
    co_return false;
  }
}

// A name beside `destination` that nothing else has, but for what a killed run may have left.
std::string copier::next_partial(const std::string& destination) {
  const auto slash = destination.find_last_of('/');
  const std::string directory = slash == std::string::npos ? "" : destination.substr(0, slash + 1);
  return directory + partial_prefix_ + std::to_string(++partial_names_) + ".part";
}

// In a directory that this run made, the rename finds out by itself.
bool copier::destination_acceptable(file_copy& copy) {
  if (copy.job.destination_is_new) return true;
  std::string& destination = copy.job.destination;
  struct stat there{};
  if (::lstat(destination.c_str(), &there) != 0) {
    if (errno == ENOENT) return true;
    fail(copy, "write", destination, last_error());
    return false;
  }
  if (S_ISLNK(there.st_mode)) {
    // Written through, as cp(1) does: the link stays, what it points to is replaced.
    std::error_code error;
    auto target = std::filesystem::canonical(destination, error);
    if (error || ::stat(target.c_str(), &there) != 0) {
      fail(copy, "write through link", destination, error ? error : last_error());
      return false;
    }
    destination = target.string();
  }
  if (there.st_dev == copy.job.status.st_dev && there.st_ino == copy.job.status.st_ino) {
    failed_.add(in_quotes(copy.job.source) + " and " + in_quotes(destination) +
                " are the same file");
  } else if (!S_ISREG(there.st_mode)) {
    failed_.add("will not replace " + in_quotes(destination) + ": it is not a regular file");
  } else {
    return true;
  }
  return false;
}

// --- blocks --------------------------------------------------------------------------------------

// By a lane that counts among the file's; the last to leave finishes it.
task<> copier::copy_blocks(shared_copy copy, buffer& memory) {
  while (!interrupted_) {
    const auto next = copy->next_block();
    if (!next) break;
    co_await copy_block(*copy, *next, memory);
  }
  std::erase(large_, copy);
  if (--copy->lanes == 0) co_await finish(*copy, memory);
}

task<> copier::copy_block(file_copy& copy, const block& what, buffer& memory) {
  block at = what;
  for (;;) {
    const auto count = co_await read_range(copy, copy.source, memory.first(at.length), at.offset);
    if (!count) fail(copy, "read", copy.job.source, count.error());
    if (count && *count < at.length) copy.seen_end = true;
    if (!count || *count == 0) co_return;
    const bool written = co_await write_block(copy, at.offset, *count, memory);
    if (!written) co_return;
    progress_.add_bytes(*count);
    // A full block at the end: the file may have grown behind it.
    if (!at.last || *count < at.length || interrupted_) co_return;
    at.offset += at.length;
  }
}

// Fewer bytes than `memory` holds at the file's end only.
task<result<std::size_t>> copier::read_range(const file_copy& copy, const file& from,
                                             std::span<std::byte> memory, std::uint64_t offset) {
  std::size_t count = 0;
  while (count < memory.size()) {
    const auto got = co_await copy.read(from, memory.subspan(count), offset + count);
    // Past an unaligned end, O_DIRECT answers EINVAL where others answer 0.
    const bool past_the_end = !got && copy.direct && count % direct_alignment != 0;
    if (!got && !past_the_end) co_return got;
    if (past_the_end || *got == 0) break;
    count += *got;
    // Where the end was expected it is believed; anywhere else only nothing more means the end.
    if (offset + count == copy.size) break;
  }
  co_return count;
}

task<bool> copier::write_block(file_copy& copy, std::uint64_t offset, std::size_t count,
                               buffer& memory) {
  std::size_t length = count;
  if (copy.direct && count % direct_alignment != 0) {
    length = static_cast<std::size_t>(rounded_up(count, direct_alignment));
    std::memset(memory.data() + count, 0, length - count);
    copy.padded = true;
  }
  const auto written = co_await copy.write(memory.first(length), offset);
  if (!written) {
    fail(copy, "write", copy.job.destination, written.error());
    co_return false;
  }
  copy.end = std::max(copy.end, offset + count);
  co_return true;
}

// --- the end of a file ---------------------------------------------------------------------------

task<> copier::finish(file_copy& copy, buffer& memory) {
  bool good = !copy.failed && !interrupted_;
  if (good) good = co_await complete(copy);
  if (good && options_.verify) {
    co_await verify(copy, memory);
    good = !copy.failed;
  }
  if (good) {
    const auto closed = co_await copy.target.close();
    if (!closed) fail(copy, "close", copy.job.destination, closed.error());
    good = closed.has_value() && put_in_place(copy);
  }
  copy.source = file{};
  copy.target = file{};
  if (good) {
    ++files_copied_;
    progress_.add_file();
  } else {
    remove_partial(copy.partial);
  }
}

// Its length, its times, and where they are to be, its bytes on the disk.
task<bool> copier::complete(file_copy& copy) {
  copy.length = copy.end;
  if (copy.sparse) {
    // Behind the last data may be a hole; a file that ended within its data has none.
    const auto status = co_await copy.source.stat();
    if (!copy.seen_end) copy.length = std::max(copy.end, status ? status->size : copy.size);
  } else if (copy.end < copy.size) {
    failed_.warn(in_quotes(copy.job.source) + " shrank while it was copied, to " +
                 std::to_string(copy.end) + " bytes");
  }
  if (copy.sparse || copy.padded) {
    const auto cut = co_await copy.target.truncate(copy.length);
    if (!cut) {
      fail(copy, "set the length of", copy.job.destination, cut.error());
      co_return false;
    }
  }
  if (options_.drop_cache && !copy.direct) {
    const bool dropped = co_await drop_from_cache(copy);
    if (!dropped) co_return false;
  }
  const std::array<timespec, 2> times{copy.job.status.st_atim, copy.job.status.st_mtim};
  if (::futimens(copy.target.native_handle(), times.data()) != 0) {
    fail(copy, "set times of", copy.job.destination, last_error());
    co_return false;
  }
  co_return true;
}

// Pages that are not on the disk yet cannot be dropped.
task<bool> copier::drop_from_cache(file_copy& copy) {
  const auto synced = co_await copy.target.datasync();
  if (!synced) {
    fail(copy, "write", copy.job.destination, synced.error());
    co_return false;
  }
  // Advice: a file system that has none for us costs cache, not data.
  ::posix_fadvise(copy.target.native_handle(), 0, 0, POSIX_FADV_DONTNEED);
  if (copy.source_flags == 0) {
    ::posix_fadvise(copy.source.native_handle(), 0, 0, POSIX_FADV_DONTNEED);
  }
  co_return true;
}

bool copier::put_in_place(file_copy& copy) {
  const int refused = rename_to(copy.job, copy.partial);
  if (refused == 0) return true;
  fail(copy, "write", copy.job.destination, {refused, std::system_category()});
  return false;
}

// 0, or an errno. In a directory that this run has made nothing can be there to be replaced.
int copier::rename_to(const copy_job& job, const std::string& partial) {
  const char* from = partial.c_str();
  const char* to = job.destination.c_str();
  const unsigned flags = job.destination_is_new ? RENAME_NOREPLACE : 0;
  if (::renameat2(AT_FDCWD, from, AT_FDCWD, to, flags) == 0) return 0;
  // Some file systems do not know the flag.
  if (errno == EINVAL && flags != 0 && ::rename(from, to) == 0) return 0;
  return errno;
}

void copier::remove_partial(const std::string& path) {
  if (::unlink(path.c_str()) != 0) failed_.add("remove the partial copy", path, last_error());
}

// Both are read back and their checksums compared, block by block, before the copy gets its name.
task<> copier::verify(file_copy& copy, buffer& memory) {
  const std::size_t half = memory.size() / 2;
  const auto original = memory.span().first(half);
  const auto copied = memory.span().subspan(half);
  for (std::uint64_t offset = 0; offset < copy.length && !interrupted_; offset += half) {
    const auto wanted =
        static_cast<std::size_t>(std::min<std::uint64_t>(half, copy.length - offset));
    const auto from_source = co_await read_range(copy, copy.source, original, offset);
    if (!from_source) co_return fail(copy, "verify", copy.job.source, from_source.error());
    const auto from_copy = co_await read_range(copy, copy.target, copied, offset);
    if (!from_copy) co_return fail(copy, "verify", copy.job.destination, from_copy.error());
    const bool same = *from_source >= wanted && *from_copy >= wanted &&
                      checksum_of(original.first(wanted)) == checksum_of(copied.first(wanted));
    if (same) continue;
    copy.failed = true;
    failed_.add("the copy of " + in_quotes(copy.job.source) + " differs from it between bytes " +
                std::to_string(offset) + " and " + std::to_string(offset + wanted) +
                "; it is removed");
    co_return;
  }
}

void copier::fail(file_copy& copy, const char* verb, const std::string& path,
                  std::error_code error) {
  // Of several lanes that fail on one file, the first has said why.
  if (std::exchange(copy.failed, true)) return;
  const bool begun = copy.target.is_open();
  failed_.add(verb, path, error, begun ? "its partial copy is removed" : "");
  if (!out_of_space(error) || std::exchange(gave_up_, true)) return;
  failed_.warn("the destination is full; what has not been begun is not tried");
}

}  // namespace weir::tools
