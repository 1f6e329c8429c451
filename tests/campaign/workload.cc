#include "campaign/workload.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "campaign/words.hpp"
#include "clock.hpp"

namespace weir::campaign {
namespace {

constexpr std::int64_t pause_ns = 200'000;

testing::descriptor open_for(const workload::options& wanted) {
  const int flags = wanted.writes ? O_RDWR | O_CREAT : O_RDONLY;
  if (wanted.direct) {
    testing::descriptor opened(::open(wanted.path.c_str(), flags | O_DIRECT | O_CLOEXEC, 0644));
    if (opened || errno != EINVAL) return opened;
  }
  return testing::descriptor(::open(wanted.path.c_str(), flags | O_CLOEXEC, 0644));
}

std::string directory_of(const std::string& path) {
  return path.substr(0, path.find_last_of('/') + 1);
}

// A file gets its size at once, all of it a hole; a block device has one.
void make_room(int file, std::size_t size) {
  struct stat status{};
  if (::fstat(file, &status) != 0) not_available("fstat");
  if (S_ISREG(status.st_mode) && ::ftruncate(file, static_cast<off_t>(size)) != 0) {
    not_available("ftruncate");
  }
}

std::span<std::byte> aligned(std::vector<std::byte>& storage, std::size_t size) {
  void* begin = storage.data();
  std::size_t space = storage.size();
  return {static_cast<std::byte*>(std::align(workload::block_size, size, begin, space)), size};
}

}  // namespace

workload::workload(trial& now, io_context& context, const options& wanted)
    : trial_(now),
      context_(context),
      options_(wanted),
      random_(now.seed()),
      file_(open_for(wanted)),
      directory_(testing::open_file(directory_of(wanted.path), O_RDONLY | O_DIRECTORY)),
      ready_(testing::make_pipe()),
      blocks_(wanted.blocks),
      storage_((wanted.depth + 1) * block_size),
      memory_(aligned(storage_, wanted.depth * block_size)) {
  if (!file_) not_available("open");
  if (wanted.writes) make_room(file_.get(), wanted.blocks * block_size);
  ready_.feed(1);
  for (unsigned i = 0; i < wanted.depth; ++i) {
    slots_.push_back(std::make_unique<slot>(now, [this, i](tracked&) { ended(*slots_[i]); }));
    slots_.back()->memory = memory_.subspan(i * block_size, block_size);
  }
}

workload::~workload() = default;

// --- going on ------------------------------------------------------------------------------------

void workload::begin(std::size_t operations) {
  left_ += operations;
  for (const auto& each : slots_) {
    if (left_ != 0 && !each->op.is_pending()) start_next(*each);
  }
}

void workload::run(std::size_t operations) {
  begin(operations);
  testing::drive_until(context_, [this] { return is_done(); });
}

void workload::start_next(slot& in) {
  --left_;
  ++running_;
  in.begun = ++now_;
  in.does = choose_kind();
  in.op.start(context_, prepare(in));
}

workload::kind workload::choose_kind() {
  const auto percent = random_() % 100;
  if (percent < 38) return kind::read;
  if (percent < 76) return options_.writes ? kind::write : kind::read;
  if (percent < 80) return options_.writes ? kind::sync : kind::read;
  if (percent < 85) return kind::list;
  if (percent < 90) return options_.opens_files ? kind::open : kind::read;
  return percent < 95 ? kind::poll : kind::pause;
}

// Each block has one operation at a time: what it must hold is then certain.
std::size_t workload::choose_block() {
  std::size_t at = random_() % blocks_.size();
  while (blocks_[at].in_use) at = (at + 1) % blocks_.size();
  blocks_[at].in_use = true;
  return at;
}

request workload::prepare(slot& in) {
  switch (in.does) {
    case kind::read:
      return prepare_read(in);
    case kind::write:
      return prepare_write(in);
    case kind::sync:
      return {.op = opcode::fdatasync, .fd = file_.get()};
    case kind::list:  // not io_uring's: our threads do it
      return {.op = opcode::getdents,
              .fd = directory_.get(),
              .address = in.memory.data(),
              .length = in.memory.size()};
    case kind::open:
      return {.op = opcode::openat,
              .fd = AT_FDCWD,
              .flags = O_RDONLY | O_CLOEXEC,
              .address = const_cast<char*>(options_.path.c_str())};
    case kind::poll:
      return {.op = opcode::poll, .fd = ready_.read.get(), .flags = POLLIN};
    case kind::pause:
      break;
  }
  const auto until = detail::monotonic_now_ns() + pause_ns;
  return {.op = opcode::timeout, .offset = static_cast<std::uint64_t>(until)};
}

request workload::prepare_read(slot& in) {
  in.at = choose_block();
  request what = testing::read_request(file_.get(), in.memory, in.at * block_size);
  what.hints = options_.direct ? hint::direct : std::uint8_t{0};
  return what;
}

request workload::prepare_write(slot& in) {
  in.at = choose_block();
  in.version = ++writes_;
  testing::fill(in.memory, in.at * block_size, in.version);
  request what = testing::write_request(file_.get(), in.memory, in.at * block_size);
  what.hints = options_.direct ? hint::direct : std::uint8_t{0};
  return what;
}

void workload::ended(slot& in) {
  if (in.op.args.op == opcode::openat && in.op.answer() >= 0) return close_opened(in);
  judge(in);
  --running_;
  if (left_ != 0) start_next(in);
}

void workload::close_opened(slot& in) {
  in.op.start(context_, {.op = opcode::close, .fd = in.op.answer()});
}

// --- what it must have done ----------------------------------------------------------------------

void workload::judge(const slot& in) {
  switch (in.does) {
    case kind::read:
      return judge_read(in);
    case kind::write:
      return judge_write(in);
    case kind::sync:
      if (in.op.answer() == 0) synced_ = std::max(synced_, in.begun);
      return;
    case kind::poll:
      return trial_.expect(in.op.answer() < 0 || in.op.answer() == POLLIN, "a poll was not POLLIN");
    case kind::pause: {
      const auto until = static_cast<std::int64_t>(in.op.args.offset);
      const bool early = in.op.answer() == 0 && detail::monotonic_now_ns() < until;
      return trial_.expect(!early, "a pause ended early");
    }
    default:
      return;
  }
}

void workload::judge_read(const slot& in) {
  blocks_[in.at].in_use = false;
  if (in.op.answer() < 0) return;
  const auto count = static_cast<std::size_t>(in.op.answer());
  trial_.expect(count != 0, "a read within the file answered its end");
  if (!holds(in.at, in.memory.first(count))) {
    trial_.data_missing(in_words("block ", in.at, " was read and is not what was written"));
  }
}

// What a write that failed, or stopped short, has left there nobody says.
void workload::judge_write(const slot& in) {
  block& written = blocks_[in.at];
  written.in_use = false;
  written.known = in.op.answer() == static_cast<std::int32_t>(block_size);
  written.version = in.version;
  written.acknowledged = now_ + 1;  // a sync that is begun from now on covers it
}

bool workload::is_certain(const block& one) const noexcept {
  return one.known && (!only_synced_ || one.acknowledged <= synced_);
}

bool workload::holds(std::size_t at, std::span<const std::byte> found) const {
  const block& expected = blocks_[at];
  if (!is_certain(expected)) return true;
  if (expected.version == 0) return static_cast<bool>(testing::holds_only(found, std::byte{0}));
  return static_cast<bool>(testing::holds_pattern(found, at * block_size, expected.version));
}

void workload::verify(std::size_t count) {
  const std::span<std::byte> found = slots_.front()->memory;
  for (std::size_t at = 0; at < count; ++at) {
    if (!is_certain(blocks_[at])) continue;
    const auto offset = static_cast<off_t>(at * block_size);
    if (::pread(file_.get(), found.data(), found.size(), offset) < 0) {
      trial_.data_missing(in_words("block ", at, ": ", name_of_error(errno)));
    } else if (!holds(at, found)) {
      trial_.data_missing(in_words(options_.path.substr(options_.path.rfind('/') + 1), ": block ",
                                   at, " does not hold what was written"));
    }
  }
}

}  // namespace weir::campaign
