#include "daemon/life/system_calls.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/sched.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <array>
#include <cerrno>
#include <memory>
#include <span>

#include "daemon/life/hardening.hpp"

namespace weir::life {
namespace {

// By what they are for. Whoever adds to these says in docs/security.md what for.

constexpr std::array files{
    SCMP_SYS(openat),     SCMP_SYS(openat2),   SCMP_SYS(close),           SCMP_SYS(close_range),
    SCMP_SYS(fstat),      SCMP_SYS(statx),     SCMP_SYS(newfstatat),      SCMP_SYS(fstatfs),
    SCMP_SYS(lseek),      SCMP_SYS(ftruncate), SCMP_SYS(fallocate),       SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),  SCMP_SYS(fadvise64), SCMP_SYS(sync_file_range), SCMP_SYS(flock),
    SCMP_SYS(getdents64), SCMP_SYS(mkdirat),   SCMP_SYS(unlinkat),        SCMP_SYS(renameat),
    SCMP_SYS(renameat2),  SCMP_SYS(linkat),    SCMP_SYS(symlinkat),       SCMP_SYS(fgetxattr),
    SCMP_SYS(fsetxattr),  SCMP_SYS(readahead), SCMP_SYS(fchmod),
};

// As glibc makes some of the above where a path is given without a directory.
constexpr std::array files_by_old_names{SCMP_SYS(open),   SCMP_SYS(stat),   SCMP_SYS(lstat),
                                        SCMP_SYS(unlink), SCMP_SYS(rename), SCMP_SYS(readlink)};

constexpr std::array transfers{
    SCMP_SYS(read),     SCMP_SYS(write),    SCMP_SYS(readv),  SCMP_SYS(writev),
    SCMP_SYS(pread64),  SCMP_SYS(pwrite64), SCMP_SYS(preadv), SCMP_SYS(pwritev),
    SCMP_SYS(preadv2),  SCMP_SYS(pwritev2), SCMP_SYS(splice), SCMP_SYS(tee),
    SCMP_SYS(sendfile), SCMP_SYS(vmsplice), SCMP_SYS(pipe2),  SCMP_SYS(copy_file_range),
    SCMP_SYS(dup),      SCMP_SYS(dup3),     SCMP_SYS(dup2),   SCMP_SYS(memfd_create),
};

constexpr std::array sockets{SCMP_SYS(accept4),     SCMP_SYS(recvmsg),  SCMP_SYS(recvfrom),
                             SCMP_SYS(sendmsg),     SCMP_SYS(sendto),   SCMP_SYS(getsockopt),
                             SCMP_SYS(setsockopt),  SCMP_SYS(shutdown), SCMP_SYS(getsockname),
                             SCMP_SYS(getpeername), SCMP_SYS(recvmmsg), SCMP_SYS(sendmmsg)};

constexpr std::array waiting{
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(eventfd2),
    SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(signalfd4),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(io_submit),
    SCMP_SYS(io_getevents),
    SCMP_SYS(io_pgetevents),
    SCMP_SYS(io_cancel),
    SCMP_SYS(io_destroy),
};

constexpr std::array threads{
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(membarrier),
    SCMP_SYS(gettid),
    SCMP_SYS(getpid),
    SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigtimedwait),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

constexpr std::array memory_and_time{
    SCMP_SYS(brk),       SCMP_SYS(munmap),       SCMP_SYS(mremap),        SCMP_SYS(madvise),
    SCMP_SYS(mincore),   SCMP_SYS(getrandom),    SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(sysinfo),       SCMP_SYS(getrusage),
    SCMP_SYS(getuid),    SCMP_SYS(geteuid),      SCMP_SYS(getgid),        SCMP_SYS(getegid),
    SCMP_SYS(prlimit64), SCMP_SYS(uname),
};

// Nothing of weir's comes near these: who does is not weir any more.
constexpr std::array intruders{
    SCMP_SYS(execve),         SCMP_SYS(execveat),          SCMP_SYS(fork),
    SCMP_SYS(vfork),          SCMP_SYS(process_vm_readv),  SCMP_SYS(process_vm_writev),
    SCMP_SYS(mount),          SCMP_SYS(umount2),           SCMP_SYS(pivot_root),
    SCMP_SYS(setns),          SCMP_SYS(unshare),           SCMP_SYS(bpf),
    SCMP_SYS(init_module),    SCMP_SYS(finit_module),      SCMP_SYS(kexec_load),
    SCMP_SYS(keyctl),         SCMP_SYS(perf_event_open),   SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup), SCMP_SYS(open_by_handle_at),
};

// LeakSanitizer stops all threads from another process that shares their memory.
constexpr std::array sanitizers{SCMP_SYS(ptrace), SCMP_SYS(wait4), SCMP_SYS(prctl),
                                SCMP_SYS(clone),  SCMP_SYS(kill),  SCMP_SYS(getppid)};

/// A filter in the making: remembers the first error, so that rules need no looking after.
class filter {
 public:
  filter() noexcept : context_(::seccomp_init(SCMP_ACT_ERRNO(EPERM)), &::seccomp_release) {
    if (!context_) error_ = -ENOMEM;
  }

  void allow(std::span<const int> calls) noexcept { add(SCMP_ACT_ALLOW, calls); }
  void kill_for(std::span<const int> calls) noexcept { add(SCMP_ACT_KILL_PROCESS, calls); }
  void answer(int error, int call) noexcept {
    add(SCMP_ACT_ERRNO(static_cast<unsigned>(error)), std::array{call});
  }
  /// Where the argument of that number, masked, is `value`.
  void allow_where(int call, unsigned argument, scmp_datum_t mask, scmp_datum_t value) noexcept {
    const scmp_arg_cmp condition{
        .arg = argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
    keep(::seccomp_rule_add_array(context_.get(), SCMP_ACT_ALLOW, call, 1, &condition));
  }

  /// On every thread there is (SECCOMP_FILTER_FLAG_TSYNC). A negative errno, or 0.
  int load() noexcept {
    keep(::seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_TSYNC, 1));
    if (error_ == 0) error_ = ::seccomp_load(context_.get());
    return error_;
  }

 private:
  void add(std::uint32_t action, std::span<const int> calls) noexcept {
    for (const int call : calls) keep(::seccomp_rule_add(context_.get(), action, call, 0));
  }
  void keep(int error) noexcept {
    if (error_ == 0) error_ = error;
  }

  std::unique_ptr<void, decltype(&::seccomp_release)> context_;
  int error_ = 0;
};

constexpr scmp_datum_t whole = 0xffffffff;

// Threads, and no processes. clone3(2) has its flags where a filter cannot look; told that it does
// not exist, the C library makes do with clone(2).
void allow_threads(filter& made) noexcept {
  made.allow(threads);
  made.allow_where(SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD);
  made.answer(ENOSYS, SCMP_SYS(clone3));
  made.allow_where(SCMP_SYS(prctl), 0, whole, PR_SET_NAME);
}

void allow_memory(filter& made) noexcept {
  made.allow(memory_and_time);
  for (const int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)}) {
    made.allow_where(call, 2, PROT_EXEC, 0);  // never to be run
  }
}

void allow_controls(filter& made) noexcept {
  made.allow(std::array{SCMP_SYS(fcntl)});
  for (const scmp_datum_t request : {scmp_datum_t{FICLONE}, scmp_datum_t{FICLONERANGE},
                                     scmp_datum_t{FIONREAD}, scmp_datum_t{TIOCOUTQ}}) {
    made.allow_where(SCMP_SYS(ioctl), 1, whole, request);
  }
}

}  // namespace

outcome<> restrict_system_calls() {
  filter made;
  for (const std::span<const int> group :
       {std::span<const int>(files), std::span<const int>(files_by_old_names),
        std::span<const int>(transfers), std::span<const int>(sockets),
        std::span<const int>(waiting)}) {
    made.allow(group);
  }
  allow_threads(made);
  allow_memory(made);
  allow_controls(made);
  made.kill_for(intruders);
  if (is_sanitized) {
    made.allow(sanitizers);
  } else {
    made.kill_for(std::array{SCMP_SYS(ptrace)});
  }
  const int error = made.load();
  if (error != 0) return failed("system calls could not be restricted", -error);
  return {};
}

}  // namespace weir::life
