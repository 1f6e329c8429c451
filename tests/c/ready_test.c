/* Ready files from C, on the driver that is named: ready_test DRIVER. Ends with 77 where that is not
 * available. */
#define _GNU_SOURCE

#include <weir/weir.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checks.h"

/* Part of the binary interface: programs have these compiled in. */
_Static_assert(offsetof(struct weir_files_options, driver) == 8, "options only grow at their end");
_Static_assert(offsetof(struct weir_files_options, queue_depth) == 16, "likewise");
_Static_assert(offsetof(struct weir_files_options, files) == 24, "likewise");
_Static_assert(offsetof(struct weir_files_options, write_behind) == 40, "likewise");
_Static_assert(offsetof(struct weir_files_options, flush_after_ms) == 56, "likewise");
_Static_assert(sizeof(struct weir_event) == 16 && offsetof(struct weir_event, result) == 8,
               "struct weir_event has its layout for good");

static const char* driver;
static char directory[] = "/var/tmp/weir_c_ready_XXXXXX";

/* For what makes no sense to go on after. */
static void give_up(const char* why) {
  fprintf(stderr, "%s\n", why);
  exit(1);
}

static weir_files* table_of(struct weir_files_options options) {
  options.size = sizeof options;
  options.driver = driver;
  weir_files* files = NULL;
  const int error = weir_files_create(&files, &options);
  if (error != 0) give_up(strerror(-error));
  return files;
}

static weir_files* plain_table(void) { return table_of((struct weir_files_options){.files = 16}); }

static const char* path_of(const char* name) {
  static char path[4200];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  return path;
}

static struct weir_event next_event(weir_files* files) {
  struct pollfd shown = {.fd = weir_files_fd(files), .events = POLLIN};
  if (poll(&shown, 1, 30000) != 1) give_up("no event came");
  struct weir_event event = {0};
  CHECK_EQUAL(weir_files_next(files, &event), 1);
  return event;
}

/* The next event is this one. */
#define EXPECT_EVENT(files, of, kind, outcome)           \
  do {                                                   \
    const struct weir_event event = next_event(files);   \
    CHECK_EQUAL(event.handle, of);                       \
    CHECK_EQUAL(event.what, kind);                       \
    CHECK_EQUAL(event.result, outcome);                  \
  } while (0)

static void expect_no_event(weir_files* files) {
  struct weir_event event;
  CHECK_EQUAL(weir_files_next(files, &event), 0);
  struct pollfd shown = {.fd = weir_files_fd(files), .events = POLLIN};
  CHECK_EQUAL(poll(&shown, 1, 0), 0);
}

static int open_ready(weir_files* files, const char* name, int flags) {
  const int handle = weir_file_open(files, path_of(name), flags, 0600);
  CHECK(handle >= 0);
  EXPECT_EVENT(files, handle, WEIR_OPENED, 0);
  CHECK_EQUAL(weir_file_status(files, handle), 0);
  return handle;
}

static void close_ready(weir_files* files, int handle) {
  CHECK_EQUAL(weir_file_close(files, handle), 0);
  EXPECT_EVENT(files, handle, WEIR_CLOSED, 0);
  CHECK_EQUAL(weir_file_status(files, handle), -EBADF);
}

static void make_file(const char* name, const void* bytes, size_t size) {
  const int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, bytes, size) != (ssize_t)size) give_up("cannot make a file");
  close(fd);
}

static void expect_contents(const char* name, const void* bytes, size_t size) {
  char* found = malloc(size + 1);
  const int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);
  CHECK_EQUAL(read(fd, found, size + 1), (ssize_t)size);
  CHECK(memcmp(found, bytes, size) == 0);
  close(fd);
  free(found);
}

/* Makes the page cache let go, so that something has to be waited for. */
static void make_cold(const char* name) {
  const int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);
  CHECK_EQUAL(fsync(fd), 0);
  CHECK_EQUAL(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
  close(fd);
}

/* --- copying ----------------------------------------------------------------------------------- */

enum { copied = 3000001, bound = 64 << 10 };

static char* some_bytes(size_t size) {
  char* bytes = malloc(size);
  uint32_t state = 1;
  for (size_t i = 0; i < size; ++i) {
    state = state * 1664525 + 1013904223;
    bytes[i] = (char)(state >> 24);
  }
  return bytes;
}

struct copy {
  int in, out;
  size_t held, written; /* of `memory` */
  int at_end;
  char memory[100000]; /* more than the bound */
};

/* Gets on until something has to be waited for; says whether it was the end. */
static int get_on(weir_files* files, struct copy* copy) {
  for (;;) {
    if (copy->written == copy->held) {
      const int64_t got = weir_file_read(files, copy->in, copy->memory, sizeof copy->memory);
      if (got == -EAGAIN) return 0;
      CHECK(got >= 0);
      if (got <= 0) return 1;
      copy->held = (size_t)got;
      copy->written = 0;
    }
    const int64_t put = weir_file_write(files, copy->out, copy->memory + copy->written,
                                        copy->held - copy->written);
    if (put == -EAGAIN) return 0;
    CHECK(put > 0 && put <= bound);
    if (put <= 0) return 1;
    copy->written += (size_t)put;
  }
}

static void copies_by_trying(int flags) {
  char* bytes = some_bytes(copied);
  make_file("from", bytes, copied);
  make_cold("from");
  unlink(path_of("to"));
  weir_files* files = table_of((struct weir_files_options){
      .files = 2, .read_ahead = 32 << 10, .write_behind = bound, .block_size = 16 << 10});
  struct copy* copy = calloc(1, sizeof *copy);
  copy->in = weir_file_open(files, path_of("from"), O_RDONLY | flags, 0);
  copy->out = weir_file_open(files, path_of("to"), O_WRONLY | O_CREAT | O_EXCL | flags, 0600);
  CHECK(copy->in >= 0 && copy->out >= 0 && copy->in != copy->out);
  while (!get_on(files, copy)) {
    const struct weir_event event = next_event(files);
    CHECK(event.handle == copy->in || event.handle == copy->out);
    CHECK((event.what & (WEIR_OPENED | WEIR_READABLE | WEIR_WRITABLE)) != 0);
    CHECK_EQUAL(event.result, 0);
    if (failures != 0) give_up("copying");
  }
  CHECK_EQUAL(weir_file_close_and_wait(files, copy->in), 0);
  CHECK_EQUAL(weir_file_close_and_wait(files, copy->out), 0);
  expect_contents("to", bytes, copied);
  weir_files_destroy(files);
  free(copy);
  free(bytes);
}

/* --- reading ----------------------------------------------------------------------------------- */

/* Past the page cache nothing is at hand, so the first try has to be told to wait. */
static void one_event_follows_eagain(void) {
  char* bytes = some_bytes(5000);
  make_file("cold", bytes, 5000);
  const int direct = open(path_of("cold"), O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (direct >= 0) {
    close(direct);
    weir_files* files = plain_table();
    const int in = open_ready(files, "cold", O_RDONLY | O_DIRECT);
    char memory[5000];
    CHECK_EQUAL(weir_file_read(files, in, memory, sizeof memory), -EAGAIN);
    CHECK_EQUAL(weir_file_poll(files, in) & ~WEIR_READABLE, 0);
    EXPECT_EVENT(files, in, WEIR_READABLE, 0);
    expect_no_event(files);
    CHECK_EQUAL(weir_file_poll(files, in), WEIR_READABLE);
    CHECK_EQUAL(weir_file_read(files, in, memory, sizeof memory), 5000);
    CHECK(memcmp(memory, bytes, 5000) == 0);
    close_ready(files, in);
    weir_files_destroy(files);
  }
  free(bytes);
}

static int64_t read_waiting(weir_files* files, int handle, void* memory, size_t size) {
  for (;;) {
    const int64_t got = weir_file_read(files, handle, memory, size);
    if (got != -EAGAIN) return got;
    EXPECT_EVENT(files, handle, WEIR_READABLE, 0);
  }
}

static void positions_and_growth(void) {
  make_file("grows", "0123456789", 10);
  weir_files* files = plain_table();
  const int file = open_ready(files, "grows", O_RDWR);
  char memory[16] = {0};
  CHECK_EQUAL(read_waiting(files, file, memory, 4), 4);
  CHECK(memcmp(memory, "0123", 4) == 0);
  CHECK_EQUAL(weir_file_seek(files, file, 8, WEIR_READABLE), 0);
  CHECK_EQUAL(read_waiting(files, file, memory, 16), 2);
  CHECK(memcmp(memory, "89", 2) == 0);
  CHECK_EQUAL(read_waiting(files, file, memory, 16), 0);
  /* The other position has not moved. What is written is read, at whichever position. */
  CHECK_EQUAL(weir_file_write(files, file, "ab", 2), 2);
  CHECK_EQUAL(weir_file_seek(files, file, 10, WEIR_WRITABLE), 0);
  CHECK_EQUAL(weir_file_write(files, file, "cd", 2), 2);
  CHECK_EQUAL(read_waiting(files, file, memory, 16), 2);
  CHECK(memcmp(memory, "cd", 2) == 0);
  CHECK_EQUAL(weir_file_seek(files, file, 1, WEIR_READABLE | WEIR_WRITABLE), 0);
  CHECK_EQUAL(weir_file_write(files, file, "B", 1), 1);
  CHECK_EQUAL(read_waiting(files, file, memory, 1), 1);
  CHECK_EQUAL(memory[0], 'B');
  CHECK_EQUAL(weir_file_seek(files, file, UINT64_MAX, WEIR_READABLE), -EINVAL);
  CHECK_EQUAL(weir_file_seek(files, file, 0, 0), -EINVAL);
  CHECK_EQUAL(weir_file_seek(files, file, 0, WEIR_OPENED), -EINVAL);
  CHECK_EQUAL(weir_file_close_and_wait(files, file), 0);
  expect_contents("grows", "aB23456789cd", 12);
  weir_files_destroy(files);
}

/* --- writing ----------------------------------------------------------------------------------- */

static void syncs(void) {
  const unsigned kinds[] = {WEIR_SYNC_DATA, WEIR_SYNC_FULL, WEIR_SYNC_NONE};
  weir_files* files = plain_table();
  const int file = open_ready(files, "synced", O_WRONLY | O_CREAT | O_TRUNC);
  CHECK_EQUAL(weir_file_poll(files, file), WEIR_WRITABLE);
  for (size_t i = 0; i < 3; ++i) {
    CHECK_EQUAL(weir_file_write(files, file, "weir", 4), 4);
    CHECK_EQUAL(weir_file_sync(files, file, kinds[i]), 0);
    CHECK_EQUAL(weir_file_sync(files, file, kinds[i]), -EALREADY);
    EXPECT_EVENT(files, file, WEIR_SYNCED, 0);
    expect_contents("synced", "weirweirweir", 4 * (i + 1)); /* written, though not closed */
  }
  CHECK_EQUAL(weir_file_sync(files, file, 3), -EINVAL);
  char byte;
  CHECK_EQUAL(weir_file_read(files, file, &byte, 1), -EBADF);
  close_ready(files, file);
  weir_files_destroy(files);
}

/* A write fails behind the caller's back: it is told ever after. */
static void write_errors(void) {
  struct rlimit before;
  CHECK_EQUAL(getrlimit(RLIMIT_FSIZE, &before), 0);
  const struct rlimit small = {.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
  signal(SIGXFSZ, SIG_IGN);
  CHECK_EQUAL(setrlimit(RLIMIT_FSIZE, &small), 0);
  weir_files* files = plain_table();
  const int file = open_ready(files, "limited", O_WRONLY | O_CREAT | O_TRUNC);
  CHECK_EQUAL(weir_file_seek(files, file, 2 << 20, WEIR_WRITABLE), 0);
  CHECK_EQUAL(weir_file_write(files, file, "weir", 4), 4);
  CHECK_EQUAL(weir_file_sync(files, file, WEIR_SYNC_DATA), 0);
  EXPECT_EVENT(files, file, WEIR_SYNCED, -EFBIG);
  CHECK_EQUAL(weir_file_write(files, file, "weir", 4), -EFBIG);
  CHECK_EQUAL(weir_file_sync(files, file, WEIR_SYNC_DATA), -EFBIG);
  CHECK_EQUAL(weir_file_close(files, file), 0);
  EXPECT_EVENT(files, file, WEIR_CLOSED, -EFBIG);
  weir_files_destroy(files);
  CHECK_EQUAL(setrlimit(RLIMIT_FSIZE, &before), 0);
}

/* --- opening and the table --------------------------------------------------------------------- */

static void expect_refused(weir_files* files, const char* path, int flags, int error) {
  const int handle = weir_file_open(files, path, flags, 0);
  CHECK(handle >= 0);
  EXPECT_EVENT(files, handle, WEIR_OPENED, error);
  char byte;
  CHECK_EQUAL(weir_file_status(files, handle), error);
  CHECK_EQUAL(weir_file_read(files, handle, &byte, 1), error);
  CHECK_EQUAL(weir_file_poll(files, handle), error);
  close_ready(files, handle);
}

static void opening_errors(void) {
  weir_files* files = plain_table();
  expect_refused(files, path_of("nowhere"), O_RDONLY, -ENOENT);
  expect_refused(files, directory, O_RDONLY, -EISDIR);
  CHECK_EQUAL(mkfifo(path_of("fifo"), 0600), 0);
  expect_refused(files, path_of("fifo"), O_RDONLY, -ESPIPE);
  weir_files_destroy(files);
}

static void bounded_and_reused(void) {
  make_file("small", "x", 1);
  weir_files* files = table_of((struct weir_files_options){.files = 2});
  const int first = open_ready(files, "small", O_RDONLY);
  const int second = open_ready(files, "small", O_RDONLY);
  CHECK_EQUAL(weir_file_open(files, path_of("small"), O_RDONLY, 0), -EMFILE);
  CHECK_EQUAL(weir_file_close(files, first), 0);
  CHECK_EQUAL(weir_file_close(files, first), -EBADF);
  CHECK_EQUAL(weir_file_status(files, first), -EINPROGRESS);
  CHECK_EQUAL(weir_file_open(files, path_of("small"), O_RDONLY, 0), -EMFILE);
  EXPECT_EVENT(files, first, WEIR_CLOSED, 0);
  CHECK_EQUAL(open_ready(files, "small", O_RDONLY), first);
  CHECK_EQUAL(weir_file_close_and_wait(files, second), 0);
  expect_no_event(files);
  CHECK_EQUAL(open_ready(files, "small", O_RDONLY), second);
  weir_files_destroy(files); /* with both open */
}

/* --- by callback ------------------------------------------------------------------------------- */

struct listener {
  weir_files* files;
  int pipe[2];
  int waited; /* what close_and_wait says to the callback */
};

static void hear(const struct weir_event* event, void* user) {
  struct listener* self = user;
  if (event->what == WEIR_OPENED) {
    self->waited = weir_file_close_and_wait(self->files, event->handle);
    CHECK_EQUAL(weir_file_write(self->files, event->handle, "heard", 5), 5);
    CHECK_EQUAL(weir_file_sync(self->files, event->handle, WEIR_SYNC_DATA), 0);
  }
  if (event->what == WEIR_SYNCED) CHECK_EQUAL(weir_file_close(self->files, event->handle), 0);
  if (write(self->pipe[1], event, sizeof *event) != sizeof *event) give_up("pipe");
}

static void by_callback(void) {
  struct listener self = {.files = plain_table(), .waited = 0};
  CHECK_EQUAL(pipe(self.pipe), 0);
  CHECK_EQUAL(weir_files_on_event(self.files, hear, &self), 0);
  const int file = weir_file_open(self.files, path_of("heard"), O_WRONLY | O_CREAT, 0600);
  const unsigned kinds[] = {WEIR_OPENED, WEIR_SYNCED, WEIR_CLOSED};
  for (int i = 0; i < 3; ++i) {
    struct weir_event event;
    CHECK_EQUAL(read(self.pipe[0], &event, sizeof event), sizeof event);
    CHECK_EQUAL(event.handle, file);
    CHECK_EQUAL(event.what, kinds[i]);
    CHECK_EQUAL(event.result, 0);
  }
  expect_contents("heard", "heard", 5);
  CHECK_EQUAL(self.waited, -EDEADLK);
  CHECK_EQUAL(weir_files_on_event(self.files, NULL, NULL), 0);
  close_ready(self.files, open_ready(self.files, "heard", O_RDONLY));
  weir_files_destroy(self.files);
  close(self.pipe[0]);
  close(self.pipe[1]);
}

/* --- threads ----------------------------------------------------------------------------------- */

enum { writers = 4, records = 2000 };
struct writer {
  weir_files* files;
  int file;
  char name[16];
  int64_t accepted;
  int closed;
};

static void* write_records(void* argument) {
  struct writer* self = argument;
  for (int i = 0; i < records; ++i) {
    const int64_t count = weir_file_write(self->files, self->file, self->name, 8);
    if (count > 0) self->accepted += count;
  }
  self->closed = weir_file_close_and_wait(self->files, self->file);
  return NULL;
}

static void several_threads(void) {
  struct writer all[writers];
  pthread_t ids[writers];
  weir_files* files = plain_table();
  for (int i = 0; i < writers; ++i) {
    all[i] = (struct writer){.files = files};
    snprintf(all[i].name, sizeof all[i].name, "thread_%d", i);
    all[i].file = open_ready(files, all[i].name, O_WRONLY | O_CREAT);
  }
  for (int i = 0; i < writers; ++i) {
    CHECK_EQUAL(pthread_create(&ids[i], NULL, write_records, &all[i]), 0);
  }
  char expected[records * 8];
  for (int i = 0; i < writers; ++i) {
    pthread_join(ids[i], NULL);
    CHECK_EQUAL(all[i].accepted, sizeof expected);
    CHECK_EQUAL(all[i].closed, 0);
    for (int record = 0; record < records; ++record) {
      memcpy(expected + (size_t)record * 8, all[i].name, 8);
    }
    expect_contents(all[i].name, expected, sizeof expected);
  }
  weir_files_destroy(files);
}

/* --- misuse ------------------------------------------------------------------------------------ */

static void misuse(void) {
  weir_files* files = NULL;
  struct weir_event event;
  char byte = 0;
  CHECK_EQUAL(weir_files_create(NULL, NULL), -EINVAL);
  struct weir_files_options options = {.size = 0, .driver = driver};
  CHECK_EQUAL(weir_files_create(&files, &options), -EINVAL);
  options = (struct weir_files_options){.size = sizeof options, .driver = driver, .reserved = 1};
  CHECK_EQUAL(weir_files_create(&files, &options), -E2BIG);
  options = (struct weir_files_options){.size = sizeof options, .driver = "nonsense"};
  CHECK_EQUAL(weir_files_create(&files, &options), -ENOENT);
  CHECK_EQUAL(weir_file_open(NULL, "/", O_RDONLY, 0), -EINVAL);
  CHECK_EQUAL(weir_files_next(NULL, &event), -EINVAL);
  CHECK_EQUAL(weir_files_fd(NULL), -EINVAL);
  weir_files_destroy(NULL);

  files = plain_table();
  const int none[] = {-1, 0, 15, 16, 1 << 30};
  for (size_t i = 0; i < sizeof none / sizeof none[0]; ++i) {
    errno = 4711;
    CHECK_EQUAL(weir_file_status(files, none[i]), -EBADF);
    CHECK_EQUAL(weir_file_read(files, none[i], &byte, 1), -EBADF);
    CHECK_EQUAL(weir_file_write(files, none[i], &byte, 1), -EBADF);
    CHECK_EQUAL(weir_file_poll(files, none[i]), -EBADF);
    CHECK_EQUAL(weir_file_seek(files, none[i], 0, WEIR_READABLE), -EBADF);
    CHECK_EQUAL(weir_file_sync(files, none[i], WEIR_SYNC_DATA), -EBADF);
    CHECK_EQUAL(weir_file_close(files, none[i]), -EBADF);
    CHECK_EQUAL(weir_file_close_and_wait(files, none[i]), -EBADF);
    CHECK_EQUAL(errno, 4711);
  }
  CHECK_EQUAL(weir_file_open(files, NULL, O_RDONLY, 0), -EINVAL);
  CHECK_EQUAL(weir_file_read(files, 0, NULL, 1), -EINVAL);
  CHECK_EQUAL(weir_files_next(files, NULL), -EINVAL);
  weir_files_destroy(files);
}

static void remove_all(void) {
  const char* left[] = {"from",   "to",   "cold",  "grows",    "synced",   "limited",
                        "fifo",   "small", "heard", "thread_0", "thread_1", "thread_2",
                        "thread_3"};
  for (size_t i = 0; i < sizeof left / sizeof left[0]; ++i) unlink(path_of(left[i]));
  rmdir(directory);
}

int main(int count, char** arguments) {
  if (count != 2) {
    fprintf(stderr, "usage: ready_test DRIVER\n");
    return 2;
  }
  driver = arguments[1];
  const struct weir_options options = {.size = sizeof options, .driver = driver};
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
  copies_by_trying(0);
  copies_by_trying(O_DIRECT);
  one_event_follows_eagain();
  positions_and_growth();
  syncs();
  write_errors();
  opening_errors();
  bounded_and_reused();
  by_callback();
  several_threads();
  misuse();
  remove_all();
  return failures != 0;
}
