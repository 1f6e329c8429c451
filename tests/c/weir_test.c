/* The C interface, from C, on the driver that is named: weir_test DRIVER. Ends with 77 where that is
 * not available. */
#define _GNU_SOURCE

#include <weir/weir.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "checks.h"

/* Part of the binary interface: programs have these sizes compiled in. */
_Static_assert(sizeof(struct weir_op) == 128, "struct weir_op has its size for good");
_Static_assert(_Alignof(struct weir_op) == 8, "and its alignment");
_Static_assert(offsetof(struct weir_options, driver) == 8, "options only grow at their end");
_Static_assert(offsetof(struct weir_options, queue_depth) == 16, "options only grow at their end");
_Static_assert(offsetof(struct weir_options, threads) == 20, "options only grow at their end");

static const char* driver;
static char directory[] = "/var/tmp/weir_c_test_XXXXXX";

static weir_context* open_context(uint32_t queue_depth) {
  struct weir_options options = {
      .size = sizeof options, .driver = driver, .queue_depth = queue_depth};
  weir_context* context = NULL;
  int error = weir_context_create(&context, &options);
  if (error != 0) {
    fprintf(stderr, "no context on %s: %s\n", driver, strerror(-error));
    exit(1);
  }
  return context;
}

/* Remembers what it was told. */
struct heard {
  int times;
  int64_t result;
};

static void hear(struct weir_op* op, int64_t result, void* user) {
  struct heard* heard = user;
  CHECK_EQUAL(weir_op_in_flight(op), 0);
  CHECK_EQUAL(weir_op_result(op), result);
  ++heard->times;
  heard->result = result;
}

/* Starts by `call`, which uses `op` and `heard`, drives to the end, and is the result. */
#define RESULT_OF(context, call)              \
  ({                                          \
    struct weir_op op = WEIR_OP_INIT;         \
    struct heard heard = {0, 0};              \
    errno = 4711;                             \
    CHECK_EQUAL(call, 0);                     \
    CHECK_EQUAL(weir_context_run(context), 0); \
    CHECK_EQUAL(errno, 4711);                 \
    CHECK_EQUAL(heard.times, 1);              \
    heard.result;                             \
  })
#define TELL hear, &heard

static void transfers(void) {
  weir_context* context = open_context(0);
  char path[4200];
  snprintf(path, sizeof path, "%s/transfers", directory);
  int fd = (int)RESULT_OF(
      context, weir_openat(context, &op, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0640, TELL));
  CHECK(fd >= 0);
  char memory[8192];
  memset(memory, 'a', 4096);
  memset(memory + 4096, 'b', 4096);
  CHECK_EQUAL(RESULT_OF(context, weir_write(context, &op, fd, memory, 8192, 0, TELL)), 8192);
  CHECK_EQUAL(RESULT_OF(context, weir_write_flags(context, &op, fd, "c", 1, 100, RWF_DSYNC, TELL)),
              1);
  char read[8192] = {0};
  CHECK_EQUAL(RESULT_OF(context, weir_read(context, &op, fd, read, 8192, 0, TELL)), 8192);
  memory[100] = 'c';
  CHECK_EQUAL(memcmp(memory, read, 8192), 0);
  CHECK_EQUAL(RESULT_OF(context, weir_read(context, &op, fd, read, 10, 8190, TELL)), 2);
  CHECK_EQUAL(RESULT_OF(context, weir_read(context, &op, fd, read, 10, 9000, TELL)), 0);
  struct iovec vector[2] = {{read, 1}, {read + 1, 2}};
  CHECK_EQUAL(RESULT_OF(context, weir_readv(context, &op, fd, vector, 2, 4095, 0, TELL)), 3);
  CHECK_EQUAL(memcmp(read, "abb", 3), 0);
  CHECK_EQUAL(RESULT_OF(context, weir_writev(context, &op, fd, vector, 2, 0, 0, TELL)), 3);
  int64_t waited =
      RESULT_OF(context, weir_read_flags(context, &op, fd, read, 4, 0, RWF_NOWAIT, TELL));
  CHECK(waited == 4 || waited == -EAGAIN || waited == -EOPNOTSUPP);
  CHECK_EQUAL(RESULT_OF(context, weir_read(context, &op, -1, read, 1, 0, TELL)), -EBADF);
  CHECK_EQUAL(RESULT_OF(context, weir_read(context, &op, fd, read, 1, UINT64_MAX, TELL)), -EINVAL);

  int ends[2];
  CHECK_EQUAL(pipe(ends), 0);
  CHECK_EQUAL(RESULT_OF(context, weir_splice(context, &op, fd, 0, ends[1], UINT64_MAX, 3, 0, TELL)),
              3);
  CHECK_EQUAL(RESULT_OF(context, weir_read(context, &op, ends[0], read, 10, 0, TELL)), 3);
  CHECK_EQUAL(memcmp(read, "abb", 3), 0);
  close(ends[0]);
  close(ends[1]);
  CHECK_EQUAL(RESULT_OF(context, weir_copy_file_range(context, &op, fd, 0, fd, 8192, 3, TELL)), 3);
  CHECK_EQUAL(RESULT_OF(context, weir_close(context, &op, fd, TELL)), 0);
  CHECK_EQUAL(RESULT_OF(context, weir_close(context, &op, fd, TELL)), -EBADF);
  weir_context_destroy(context);
}

static void files(void) {
  weir_context* context = open_context(0);
  char path[4200];
  snprintf(path, sizeof path, "%s/files", directory);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  CHECK_EQUAL(RESULT_OF(context, weir_ftruncate(context, &op, fd, 10000, TELL)), 0);
  struct statx status;
  CHECK_EQUAL(RESULT_OF(context, weir_statx(context, &op, fd, "", AT_EMPTY_PATH, STATX_SIZE,
                                            &status, TELL)),
              0);
  CHECK_EQUAL(status.stx_size, 10000);
  int64_t allocated = RESULT_OF(context, weir_fallocate(context, &op, fd, 0, 0, 20000, TELL));
  CHECK(allocated == 0 || allocated == -EOPNOTSUPP);
  CHECK_EQUAL(RESULT_OF(context, weir_fsync(context, &op, fd, TELL)), 0);
  CHECK_EQUAL(RESULT_OF(context, weir_fdatasync(context, &op, fd, TELL)), 0);
  CHECK_EQUAL(RESULT_OF(context, weir_sync_file_range(context, &op, fd, 0, 4096,
                                                      SYNC_FILE_RANGE_WRITE, TELL)),
              0);
  CHECK_EQUAL(
      RESULT_OF(context, weir_fadvise(context, &op, fd, 0, 0, POSIX_FADV_SEQUENTIAL, TELL)), 0);
  void* page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK_EQUAL(RESULT_OF(context, weir_madvise(context, &op, page, 4096, MADV_DONTNEED, TELL)), 0);
  munmap(page, 4096);
  int64_t set = RESULT_OF(context, weir_fsetxattr(context, &op, fd, "user.weir", "abc", 3, 0, TELL));
  if (set != -EOPNOTSUPP) {
    char value[8];
    CHECK_EQUAL(set, 0);
    CHECK_EQUAL(RESULT_OF(context, weir_fgetxattr(context, &op, fd, "user.weir", value, 8, TELL)),
                3);
    CHECK_EQUAL(memcmp(value, "abc", 3), 0);
  }
  close(fd);
  weir_context_destroy(context);
}

static void names(void) {
  weir_context* context = open_context(0);
  int at = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CHECK_EQUAL(RESULT_OF(context, weir_mkdirat(context, &op, at, "made", 0700, TELL)), 0);
  CHECK_EQUAL(RESULT_OF(context, weir_mkdirat(context, &op, at, "made", 0700, TELL)), -EEXIST);
  close(openat(at, "made/a", O_WRONLY | O_CREAT, 0600));
  CHECK_EQUAL(
      RESULT_OF(context, weir_renameat(context, &op, at, "made/a", at, "made/b", 0, TELL)), 0);
  CHECK_EQUAL(RESULT_OF(context, weir_linkat(context, &op, at, "made/b", at, "made/c", 0, TELL)),
              0);
  CHECK_EQUAL(RESULT_OF(context, weir_symlinkat(context, &op, "b", at, "made/d", TELL)), 0);
  struct open_how how = {.flags = O_RDONLY | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
  int64_t beneath =
      RESULT_OF(context, weir_openat2(context, &op, at, "made/d", &how, sizeof how, TELL));
  CHECK(beneath >= 0);
  close((int)beneath);
  CHECK_EQUAL(RESULT_OF(context, weir_openat2(context, &op, at, "..", &how, sizeof how, TELL)),
              -EXDEV);
  int list = openat(at, "made", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  char entries[4096];
  CHECK(RESULT_OF(context, weir_getdents(context, &op, list, entries, sizeof entries, TELL)) > 0);
  CHECK_EQUAL(RESULT_OF(context, weir_getdents(context, &op, list, entries, sizeof entries, TELL)),
              0);
  close(list);
  const char* links[] = {"made/b", "made/c", "made/d"};
  for (int i = 0; i < 3; ++i) {
    CHECK_EQUAL(RESULT_OF(context, weir_unlinkat(context, &op, at, links[i], 0, TELL)), 0);
  }
  CHECK_EQUAL(RESULT_OF(context, weir_unlinkat(context, &op, at, "made", AT_REMOVEDIR, TELL)), 0);
  CHECK_EQUAL(RESULT_OF(context, weir_unlinkat(context, &op, at, "made", AT_REMOVEDIR, TELL)),
              -ENOENT);
  close(at);
  weir_context_destroy(context);
}

static void waiting_and_cancelling(void) {
  weir_context* context = open_context(1);
  int ends[2];
  CHECK_EQUAL(pipe(ends), 0);
  CHECK_EQUAL(RESULT_OF(context, weir_poll(context, &op, ends[1], POLLOUT, TELL)), POLLOUT);
  CHECK_EQUAL(RESULT_OF(context, weir_sleep(context, &op, 1000000, TELL)), 0);
  CHECK_EQUAL(RESULT_OF(context, weir_nop(context, &op, TELL)), 0);

  struct weir_op polling = WEIR_OP_INIT, sleeping = WEIR_OP_INIT, cancel = WEIR_OP_INIT;
  struct heard polled = {0, 0}, slept = {0, 0}, cancelled = {0, 0};
  CHECK_EQUAL(weir_cancel(context, &cancel, &polling, hear, &cancelled), -ENOENT);
  CHECK_EQUAL(weir_poll(context, &polling, ends[0], POLLIN, hear, &polled), 0);
  CHECK_EQUAL(weir_poll(context, &polling, ends[0], POLLIN, hear, &polled), -EBUSY);
  CHECK_EQUAL(weir_sleep(context, &sleeping, UINT64_MAX, hear, &slept), 0);
  CHECK_EQUAL(weir_op_in_flight(&sleeping), 1);
  CHECK_EQUAL(weir_context_flush(context), 0);
  CHECK_EQUAL(weir_context_outstanding(context), 2);
  CHECK_EQUAL(weir_cancel(context, &cancel, &sleeping, hear, &cancelled), 0);
  while (cancelled.times == 0 || slept.times == 0) weir_context_dispatch(context, 1);
  CHECK_EQUAL(cancelled.result, 0);
  CHECK_EQUAL(slept.result, -ECANCELED);
  CHECK_EQUAL(weir_cancel_fd(context, &cancel, ends[0], hear, &cancelled), 0);
  CHECK_EQUAL(weir_context_run(context), 0);
  CHECK_EQUAL(polled.result, -ECANCELED);

  CHECK_EQUAL(weir_poll(context, &polling, ends[0], POLLIN, hear, &polled), 0);
  CHECK_EQUAL(weir_cancel_all(context, &cancel, hear, &cancelled), 0);
  CHECK_EQUAL(weir_context_run(context), 0);
  CHECK_EQUAL(polled.times, 2);
  /* Destroyed while something is in flight: it is told. */
  CHECK_EQUAL(weir_poll(context, &polling, ends[0], POLLIN, hear, &polled), 0);
  weir_context_destroy(context);
  CHECK_EQUAL(polled.times, 3);
  CHECK_EQUAL(polled.result, -ECANCELED);
  close(ends[0]);
  close(ends[1]);
}

/* One operation, started again and again from its own completion. */
struct chain {
  weir_context* context;
  int fd;
  int left;
  char byte;
};

static void next_of_chain(struct weir_op* op, int64_t result, void* user) {
  struct chain* chain = user;
  CHECK_EQUAL(result, 1);
  if (--chain->left == 0) return;
  CHECK_EQUAL(weir_read(chain->context, op, chain->fd, &chain->byte, 1, 0, next_of_chain, chain), 0);
}

static void chains_and_loops(void) {
  weir_context* context = open_context(2);
  char path[4200];
  snprintf(path, sizeof path, "%s/chains", directory);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK_EQUAL(write(fd, "x", 1), 1);
  struct weir_op ops[8] = {WEIR_OP_INIT};
  struct chain chains[8];
  for (int i = 0; i < 8; ++i) {
    chains[i] = (struct chain){.context = context, .fd = fd, .left = 500};
    CHECK_EQUAL(weir_read(context, &ops[i], fd, &chains[i].byte, 1, 0, next_of_chain, &chains[i]),
                0);
  }
  /* From an event loop that has only the descriptor to go by. */
  struct pollfd shown = {.fd = weir_context_fd(context), .events = POLLIN};
  CHECK(shown.fd >= 0);
  weir_context_flush(context);
  while (weir_context_outstanding(context) != 0) {
    CHECK_EQUAL(poll(&shown, 1, 10000), 1);
    if (failures != 0) exit(1);
    weir_context_dispatch(context, 0);
  }
  for (int i = 0; i < 8; ++i) CHECK_EQUAL(chains[i].left, 0);
  close(fd);
  weir_context_destroy(context);
}

enum { starters = 4, started_by_each = 1000 };
struct starter {
  weir_context* context;
  struct weir_op ops[started_by_each];
  int finished;
};

static void count_one(struct weir_op* op, int64_t result, void* user) {
  (void)op;
  CHECK_EQUAL(result, 0);
  ++*(int*)user;
}

static void* start_many(void* argument) {
  struct starter* self = argument;
  for (int i = 0; i < started_by_each; ++i) {
    CHECK_EQUAL(weir_nop(self->context, &self->ops[i], count_one, &self->finished), 0);
  }
  return NULL;
}

static void threads(void) {
  weir_context* context = open_context(16);
  struct starter* all = calloc(starters, sizeof *all);
  pthread_t ids[starters];
  for (int i = 0; i < starters; ++i) {
    all[i].context = context;
    CHECK_EQUAL(pthread_create(&ids[i], NULL, start_many, &all[i]), 0);
  }
  int finished = 0;
  while (finished != starters * started_by_each) {
    weir_context_dispatch(context, 1);
    finished = 0;
    for (int i = 0; i < starters; ++i) finished += all[i].finished;
  }
  for (int i = 0; i < starters; ++i) pthread_join(ids[i], NULL);
  free(all);
  weir_context_destroy(context);
}

static void misuse(void) {
  weir_context* context = NULL;
  CHECK_EQUAL(weir_context_create(NULL, NULL), -EINVAL);
  struct weir_options unknown = {.size = sizeof unknown, .driver = "nonsense"};
  CHECK_EQUAL(weir_context_create(&context, &unknown), -ENOENT);
  char text[512];
  CHECK(weir_explain(&unknown, text, sizeof text) > 0);
  CHECK(strstr(text, "nonsense") != NULL);
  CHECK_EQUAL(weir_explain(&unknown, text, 4) > 4, 1);
  CHECK_EQUAL(strlen(text), 3);
  struct weir_options deep = {.size = sizeof deep, .driver = driver, .queue_depth = 1000000};
  CHECK_EQUAL(weir_context_create(&context, &deep), -EINVAL);

  /* An older caller, whose options end early; and newer ones. */
  struct weir_options older = {.size = offsetof(struct weir_options, queue_depth),
                               .driver = driver,
                               .queue_depth = 1000000};
  CHECK_EQUAL(weir_context_create(&context, &older), 0);
  weir_context_destroy(context);
  struct {
    struct weir_options known;
    uint64_t more;
  } newer = {.known = {.size = sizeof newer, .driver = driver}, .more = 0};
  CHECK_EQUAL(weir_context_create(&context, &newer.known), 0);
  newer.more = 1;
  weir_context* none = NULL;
  CHECK_EQUAL(weir_context_create(&none, &newer.known), -E2BIG);
  struct weir_options empty = {.size = 0};
  CHECK_EQUAL(weir_context_create(&none, &empty), -EINVAL);

  struct weir_op op = WEIR_OP_INIT;
  CHECK_EQUAL(weir_nop(NULL, &op, hear, NULL), -EINVAL);
  CHECK_EQUAL(weir_nop(context, NULL, hear, NULL), -EINVAL);
  CHECK_EQUAL(weir_nop(context, &op, NULL, NULL), -EINVAL);
  CHECK_EQUAL(weir_cancel(context, &op, NULL, hear, NULL), -EINVAL);
  CHECK_EQUAL(weir_cancel_fd(context, &op, -1, hear, NULL), -EBADF);
  CHECK_EQUAL(weir_op_in_flight(&op), 0);
  CHECK_EQUAL(weir_op_result(&op), 0);
  CHECK_EQUAL(weir_context_run(NULL), -EINVAL);
  weir_context_destroy(context);
  weir_context_destroy(NULL);
}

int main(int count, char** arguments) {
  if (count != 2) {
    fprintf(stderr, "usage: weir_test DRIVER\n");
    return 2;
  }
  driver = arguments[1];
  struct weir_options options = {.size = sizeof options, .driver = driver};
  weir_context* context = NULL;
  if (weir_context_create(&context, &options) != 0) {
    char text[1024];
    weir_explain(&options, text, sizeof text);
    fprintf(stderr, "SKIPPED: %s", text);
    return 77;
  }
  weir_context_destroy(context);
  if (mkdtemp(directory) == NULL) {
    perror("mkdtemp");
    return 1;
  }
  transfers();
  files();
  names();
  waiting_and_cancelling();
  chains_and_loops();
  threads();
  misuse();
  const char* left[] = {"transfers", "files", "chains"};
  for (int i = 0; i < 3; ++i) {
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", directory, left[i]);
    unlink(path);
  }
  rmdir(directory);
  return failures != 0;
}
