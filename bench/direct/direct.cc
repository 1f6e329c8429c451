// What a disk gives, past the page cache: transfers at random places of one file, one and many at a
// time, beside what is written by hand for the same ring, and beside fio on the same file.

#include <string>
#include <string_view>
#include <vector>

#include "peers/peers.hpp"
#include "support/program.hpp"
#include "support/scratch_file.hpp"
#include "support/units.hpp"

namespace {

using namespace weir::bench;

conditions in_regime(const workload& work, std::string_view what) {
  return {.regime = size_name(work.block) + " " + std::string(what) + ", O_DIRECT, " +
                    (work.depth == 1 ? "one at a time" : std::to_string(work.depth) + " in flight"),
          .shown = work.block == 4 * kib ? rate() : megabytes(work.block)};
}

/// Each regime's contestants, by wall time: it is the disk that is waited for.
class regime {
 public:
  regime(program& run, const scratch_file& file, const workload& work, std::string_view what)
      : run_(run),
        file_(file),
        work_(work),
        under_(in_regime(work, what)),
        ours_(weir_on({.name = "uring"}, work, timed_by::wall)) {}

  void beside(const contestant& peer) { run_.compare(under_, ours_, peer); }
  void beside_ring() { beside(raw_ring(tuning::tuned, work_, timed_by::wall)); }
  void beside_fio() { beside(fio("io_uring", work_, file_.path(), run_.slice())); }
  void beside_itself() {
    contestant itself = weir_on({.name = "uring"}, work_, timed_by::wall);
    itself.name = "another of the same: noise";
    beside(itself);
  }
  void libaio_beside_libaio() { run_.compare(under_, libaio(), raw_aio(work_, timed_by::wall)); }
  void libaio_beside_fio() {
    run_.compare(under_, libaio(), fio("libaio", work_, file_.path(), run_.slice()));
  }
  void beside_threads() {
    const contestant peer = threads(work_, timed_by::wall);
    beside(peer);
    run_.compare(under_,
                 weir_on({.name = "threads", .threads = work_.depth}, work_, timed_by::wall), peer);
    beside(libuv(16, work_, timed_by::wall));
    beside(posix_aio(work_, timed_by::wall));
    beside(asio_files(work_, timed_by::wall));
  }

 private:
  contestant libaio() const { return weir_on({.name = "linux_aio"}, work_, timed_by::wall); }

  program& run_;
  const scratch_file& file_;
  workload work_;
  conditions under_;
  contestant ours_;
};

workload on(const scratch_file& file, unsigned depth, std::size_t block, work_kind kind) {
  return {
      .files = {file.direct()}, .block = block, .span = file.size(), .depth = depth, .kind = kind};
}

void compare_small_reads(program& run, const scratch_file& file) {
  const workload alone = on(file, 1, 4 * kib, work_kind::read);
  regime one(run, file, alone, "random reads");
  one.beside_ring();
  one.beside(calls(call::pread, alone, timed_by::wall));

  regime many(run, file, on(file, 32, 4 * kib, work_kind::read), "random reads");
  many.beside_ring();
  many.beside_fio();
  many.beside_itself();
  many.libaio_beside_libaio();
  many.libaio_beside_fio();
  many.beside_threads();

  regime more(run, file, on(file, 128, 4 * kib, work_kind::read), "random reads");
  more.beside_ring();
  more.beside_fio();
  more.libaio_beside_libaio();
}

void compare_large_reads(program& run, const scratch_file& file) {
  for (const std::size_t block : {64 * kib, mib}) {
    regime(run, file, on(file, 32, block, work_kind::read), "random reads").beside_ring();
  }
}

void compare_writes(program& run, const scratch_file& file) {
  regime mixed(run, file, on(file, 32, 4 * kib, work_kind::mixed), "random reads and writes");
  mixed.beside_ring();
  mixed.beside_fio();
  regime small(run, file, on(file, 32, 4 * kib, work_kind::write), "random writes");
  small.beside_ring();
  small.beside_fio();
  regime(run, file, on(file, 32, mib, work_kind::write), "random writes").beside_ring();
  const workload durable = on(file, 1, 4 * kib, work_kind::durable);
  regime alone(run, file, durable, "random writes + fdatasync");
  alone.beside_ring();
  alone.beside(calls(call::pread, durable, timed_by::wall));
}

int body(int argc, char** argv) {
  program run(argc, argv, "direct", "What does a disk give, past the page cache?");
  const scratch_file file(run.unless_quick(512 * mib, 32 * mib));
  if (file.direct() < 0) {
    run.remark("The file system of " + scratch_directory() + " has no O_DIRECT: nothing measured.");
    return run.finish();
  }
  compare_small_reads(run, file);
  compare_large_reads(run, file);
  compare_writes(run, file);
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) { return run_main(argc, argv, &body); }
