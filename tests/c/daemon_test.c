/* The daemon's client in C, beside a real daemon: daemon_test COMMAND, the `weir` to start. */
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
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checks.h"

/* Part of the binary interface: programs have these compiled in. */
_Static_assert(sizeof(struct weir_answer) == WEIR_ANSWER_SIZE, "answers have their size for good");
_Static_assert(sizeof(struct weir_file_info) == WEIR_ANSWER_SIZE, "likewise");
_Static_assert(sizeof(struct weir_transfer_status) == WEIR_ANSWER_SIZE, "likewise");
_Static_assert(sizeof(struct weir_daemon_state) == WEIR_ANSWER_SIZE, "likewise");
_Static_assert(offsetof(struct weir_file_info, size) == 32, "so have their parts their places");
_Static_assert(offsetof(struct weir_transfer_status, total) == 32, "likewise");
_Static_assert(offsetof(struct weir_daemon_options, max_transfers) == 40,
               "options only grow at their end");
_Static_assert(offsetof(struct weir_daemon_options, others) == 56, "likewise");

static const char* command;
static char directory[] = "/var/tmp/weir_c_daemon_XXXXXX";
static char socket_path[64];
static pid_t process;

/* For what makes no sense to go on after. */
static void give_up(const char* why) {
  fprintf(stderr, "%s\n", why);
  if (process > 0) kill(process, SIGKILL);
  exit(1);
}

static const char* path_of(const char* name) {
  static char path[4200];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  return path;
}

static void make_file(const char* name, const char* contents, size_t size) {
  const int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, contents, size) != (ssize_t)size) give_up("no file could be made");
  close(fd);
}

static void expect_file(const char* name, const char* contents, size_t size) {
  char found[256];
  const int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0);
  CHECK_EQUAL(read(fd, found, sizeof found), (ssize_t)size);
  CHECK(memcmp(found, contents, size) == 0);
  close(fd);
}

/* --- reading channels ---------------------------------------------------------------------------- */

/* Reads up to `size` bytes, to the end at most; what does not come in time ends the test. */
static size_t read_all(int fd, void* memory, size_t size) {
  size_t filled = 0;
  while (filled < size) {
    struct pollfd shown = {.fd = fd, .events = POLLIN};
    if (poll(&shown, 1, 30000) != 1) give_up("nothing came, and no end");
    const ssize_t got = read(fd, (char*)memory + filled, size - filled);
    if (got < 0 && errno != EAGAIN && errno != EINTR) give_up(strerror(errno));
    if (got == 0) break;
    if (got > 0) filled += (size_t)got;
  }
  return filled;
}

static struct weir_answer next_answer(int channel) {
  unsigned char bytes[WEIR_ANSWER_SIZE];
  struct weir_answer answer = {0};
  const size_t got = read_all(channel, bytes, sizeof bytes);
  if (weir_parse_answer(bytes, (ssize_t)got, &answer) != 1) memcpy(&answer, bytes, got);
  return answer;
}

/* The information comes first, and promises so many bytes. Returns the id. */
static uint64_t expect_info(int channel, uint64_t length, uint64_t size) {
  unsigned char bytes[WEIR_ANSWER_SIZE];
  struct weir_file_info info = {0};
  CHECK_EQUAL(weir_parse_file_info(bytes, (ssize_t)read_all(channel, bytes, sizeof bytes), &info),
              1);
  CHECK_EQUAL(info.length, length);
  CHECK_EQUAL(info.size, size);
  return info.id;
}

/* Progress that adds up, the end, and nothing behind it. */
static void expect_end(int channel, int status, uint64_t total) {
  uint64_t sum = 0;
  struct weir_transfer_status came = {0};
  do {
    unsigned char bytes[WEIR_ANSWER_SIZE];
    const size_t got = read_all(channel, bytes, sizeof bytes);
    if (weir_parse_transfer_status(bytes, (ssize_t)got, &came) != 1) give_up("no status came");
    sum += came.bytes;
    CHECK_EQUAL(came.total, sum);
  } while (came.kind == WEIR_PROGRESS);
  CHECK_EQUAL(came.kind, WEIR_ENDED);
  CHECK_EQUAL(came.status, status);
  CHECK_EQUAL(sum, total);
  char more;
  CHECK_EQUAL(read_all(channel, &more, 1), 0);
  close(channel);
}

static void expect_bytes(int fd, const char* expected, size_t size) {
  char found[256];
  CHECK_EQUAL(read_all(fd, found, size), size);
  CHECK(memcmp(found, expected, size) == 0);
}

static int connected(void) {
  const int daemon = weir_connect(socket_path);
  if (daemon < 0) give_up(strerror(-daemon));
  return daemon;
}

/* --- the daemon's process ------------------------------------------------------------------------- */

static struct weir_daemon_options options_of(void) {
  return (struct weir_daemon_options){.size = sizeof(struct weir_daemon_options),
                                      .program = command,
                                      .root = directory,
                                      .socket_path = socket_path,
                                      .allow_write = 1};
}

static void spawn_refuses_what_cannot_be(void) {
  pid_t child = -7;
  struct weir_daemon_options options = options_of();
  CHECK_EQUAL(weir_daemon_spawn(NULL, &child), -EINVAL);
  CHECK_EQUAL(weir_daemon_spawn(&options, NULL), -EINVAL);
  options.name = "two places";
  CHECK_EQUAL(weir_daemon_spawn(&options, &child), -EINVAL);
  options = options_of();
  options.root = NULL;
  CHECK_EQUAL(weir_daemon_spawn(&options, &child), -EINVAL);
  CHECK_EQUAL(child, -7);
  options = options_of();
  options.program = "/nowhere/weir";
  CHECK_EQUAL(weir_daemon_spawn(&options, &child), -ENOENT);
  options = options_of();
  options.root = "/nowhere/at/all";
  CHECK_EQUAL(weir_daemon_spawn(&options, &child), -ENOENT);
  static const char* const nonsense[] = {"--no-such-option", NULL};
  options = options_of();
  options.others = nonsense;
  CHECK_EQUAL(weir_daemon_spawn(&options, &child), -EINVAL);
  CHECK_EQUAL(weir_daemon_shutdown(0), -EINVAL);
  CHECK_EQUAL(weir_daemon_shutdown(-1), -EINVAL);
  CHECK_EQUAL(waitpid(-1, NULL, WNOHANG), -1); /* no child is left behind */
  CHECK_EQUAL(errno, ECHILD);
}

static void start_daemon(void) {
  const struct weir_daemon_options options = options_of();
  const int error = weir_daemon_spawn(&options, &process);
  if (error != 0) give_up(strerror(-error));
  if (process <= 0) give_up("somebody else's daemon is there");
}

static void a_second_one_is_not_started(void) {
  const struct weir_daemon_options options = options_of();
  pid_t second = -7;
  CHECK_EQUAL(weir_daemon_spawn(&options, &second), 0);
  CHECK_EQUAL(second, 0);
}

/* --- connections ------------------------------------------------------------------------------- */

static void connecting_to_nobody_says_so(void) {
  CHECK_EQUAL(weir_connect(NULL), -EINVAL);
  CHECK_EQUAL(weir_connect(""), -EINVAL);
  CHECK_EQUAL(weir_connect("/nowhere/at/all"), -ENOENT);
  char long_path[200];
  memset(long_path, 'x', sizeof long_path);
  long_path[0] = '/';
  long_path[sizeof long_path - 1] = '\0';
  CHECK_EQUAL(weir_connect(long_path), -ENAMETOOLONG);
}

static void connections_are_closed_at_exec(void) {
  const int daemon = connected();
  CHECK(fcntl(daemon, F_GETFD) & FD_CLOEXEC);
  close(daemon);
}

static void requests_without_a_daemon_fail(void) {
  int pipe_ends[2];
  if (pipe(pipe_ends) != 0) give_up("no pipe");
  errno = 99;
  CHECK_EQUAL(weir_daemon_read(-1, "ten", 0, 0, 0), -EBADF);
  CHECK_EQUAL(weir_daemon_read(pipe_ends[1], "ten", 0, 0, 0), -ENOTSOCK);
  CHECK_EQUAL(weir_daemon_cancel(-1, 1), -EBADF);
  CHECK_EQUAL(errno, 99);
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

static void what_is_wrong_is_not_even_sent(void) {
  const int daemon = connected();
  static char path[5000];
  memset(path, 'x', sizeof path - 1);
  CHECK_EQUAL(weir_daemon_read(daemon, NULL, 0, 0, 0), -EINVAL);
  CHECK_EQUAL(weir_daemon_read(daemon, path, 0, 0, 0), -ENAMETOOLONG);
  CHECK_EQUAL(weir_daemon_read(daemon, "ten", UINT64_MAX, 0, 0), -EINVAL);
  CHECK_EQUAL(weir_daemon_read(daemon, "ten", INT64_MAX, 1, 0), -EINVAL);
  CHECK_EQUAL(weir_daemon_read(daemon, "ten", 0, 0, WEIR_CREATE), -EINVAL);
  CHECK_EQUAL(weir_daemon_read(daemon, "ten", 0, 0, 1U << 20), -EINVAL);
  CHECK_EQUAL(weir_daemon_send(daemon, "ten", -1, 0, 0, 0), -EBADF);
  CHECK_EQUAL(weir_daemon_send(daemon, "ten", 9999, 0, 0, 0), -EBADF);
  CHECK_EQUAL(weir_daemon_info(daemon, WEIR_LOCK), -EINVAL);
  struct pollfd shown = {.fd = daemon, .events = POLLIN};
  CHECK_EQUAL(poll(&shown, 1, 0), 0);
  close(daemon);
}

/* --- transfers ----------------------------------------------------------------------------------- */

static void a_file_is_read(void) {
  const int daemon = connected();
  int channel = weir_daemon_read(daemon, "ten", 0, 0, 0);
  CHECK(fcntl(channel, F_GETFD) & FD_CLOEXEC);
  CHECK_EQUAL(fcntl(channel, F_GETFL) & O_NONBLOCK, 0);
  expect_info(channel, 10, 10);
  expect_bytes(channel, "0123456789", 10);
  char more;
  CHECK_EQUAL(read_all(channel, &more, 1), 0);
  close(channel);

  channel = weir_daemon_read(daemon, "ten", 3, 5, WEIR_NONBLOCK | WEIR_LOCK);
  CHECK(fcntl(channel, F_GETFL) & O_NONBLOCK);
  expect_info(channel, 5, 10);
  expect_bytes(channel, "34567", 5);
  CHECK_EQUAL(read_all(channel, &more, 1), 0);
  close(channel);
  close(daemon);
}

static void a_refusal_is_told_on_the_channel(void) {
  const int daemon = connected();
  const int channel = weir_daemon_read(daemon, "missing", 0, 0, 0);
  unsigned char bytes[WEIR_ANSWER_SIZE];
  struct weir_file_info info = {.size = 77};
  CHECK_EQUAL(weir_parse_file_info(bytes, (ssize_t)read_all(channel, bytes, sizeof bytes), &info),
              -ENOENT);
  CHECK_EQUAL(info.size, 77);
  close(channel);
  close(daemon);
}

static void a_file_is_sent(void) {
  const int daemon = connected();
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) give_up("no sockets");
  const int channel = weir_daemon_send(daemon, "ten", ends[1], 2, WEIR_TO_THE_END, 0);
  close(ends[1]);
  expect_info(channel, 8, 10);
  expect_end(channel, 0, 8);
  expect_bytes(ends[0], "23456789", 8);
  close(ends[0]);
  close(daemon);
}

static void an_opened_file_is_sent_when_asked(void) {
  const int daemon = connected();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) give_up("no pipe");
  const int channel = weir_daemon_open(daemon, "ten", 0, 4, 0);
  const uint64_t id = expect_info(channel, 4, 10);
  CHECK_EQUAL(weir_daemon_send_open(daemon, id, -1), -EBADF);
  CHECK_EQUAL(weir_daemon_send_open(daemon, id, ends[1]), 0);
  close(ends[1]);
  expect_end(channel, 0, 4);
  expect_bytes(ends[0], "0123", 4);
  close(ends[0]);
  close(daemon);
}

static void a_cancel_is_acknowledged(void) {
  const int daemon = connected();
  const int stranger = connected();
  const int channel = weir_daemon_open(daemon, "ten", 0, 0, 0);
  const uint64_t id = expect_info(channel, 10, 10);
  CHECK_EQUAL(weir_daemon_cancel(daemon, id + 1), -ENOENT);
  CHECK_EQUAL(weir_daemon_cancel(stranger, id), -ENOENT);
  CHECK_EQUAL(weir_daemon_cancel(daemon, id), 0);
  expect_end(channel, -ECANCELED, 0);
  CHECK_EQUAL(weir_daemon_cancel(daemon, id), -ENOENT);
  close(stranger);
  close(daemon);
}

static void a_file_is_received(void) {
  const int daemon = connected();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) give_up("no pipe");
  CHECK_EQUAL(write(ends[1], "received", 8), 8);
  close(ends[1]);
  const int channel =
      weir_daemon_receive(daemon, "new", ends[0], 0, 0, WEIR_CREATE | WEIR_DURABLE, 0640);
  close(ends[0]);
  for (;;) {
    const struct weir_answer answer = next_answer(channel);
    if (answer.kind == WEIR_ENDED) {
      CHECK_EQUAL(answer.status, 0);
      break;
    }
    CHECK(answer.kind == WEIR_FILE_INFO || answer.kind == WEIR_PROGRESS);
    if (answer.kind != WEIR_FILE_INFO && answer.kind != WEIR_PROGRESS) break;
  }
  close(channel);
  expect_file("new", "received", 8);
  struct stat about;
  CHECK_EQUAL(stat(path_of("new"), &about), 0);
  CHECK_EQUAL(about.st_mode & 07777, 0640);
  unlink(path_of("new"));
  close(daemon);
}

static void memory_is_read_and_written(void) {
  const int daemon = connected();
  const int memory = memfd_create("shared", MFD_CLOEXEC);
  if (memory < 0 || ftruncate(memory, 4096) != 0) give_up("no memory to share");
  int channel = weir_daemon_read_memory(daemon, "ten", memory, 100, 5, 5, 0);
  expect_info(channel, 5, 10);
  expect_end(channel, 0, 5);
  char found[5];
  CHECK_EQUAL(pread(memory, found, 5, 100), 5);
  CHECK(memcmp(found, "56789", 5) == 0);

  make_file("target", "..........", 10);
  channel = weir_daemon_write_memory(daemon, "target", memory, 100, 2, 5, 0, 0);
  expect_info(channel, 5, 10);
  expect_end(channel, 0, 5);
  expect_file("target", "..56789...", 10);
  CHECK_EQUAL(weir_daemon_read_memory(daemon, "ten", memory, 0, 0, WEIR_TO_THE_END, 0), -EINVAL);
  unlink(path_of("target"));
  close(memory);
  close(daemon);
}

static void what_is_asked_about_is_answered(void) {
  const int daemon = connected();
  int channel = weir_daemon_stat(daemon, "ten", 0);
  struct weir_answer answer = next_answer(channel);
  CHECK_EQUAL(answer.kind, WEIR_FILE_INFO);
  struct stat about;
  CHECK_EQUAL(stat(path_of("ten"), &about), 0);
  struct weir_file_info info;
  memcpy(&info, &answer, sizeof info);
  CHECK_EQUAL(info.size, 10);
  CHECK_EQUAL(info.modified_ns, about.st_mtim.tv_sec * 1000000000LL + about.st_mtim.tv_nsec);
  close(channel);

  channel = weir_daemon_sync(daemon, "ten", WEIR_DATA_ONLY);
  do answer = next_answer(channel);
  while (answer.kind == WEIR_FILE_INFO);
  CHECK_EQUAL(answer.kind, WEIR_ENDED);
  CHECK_EQUAL(answer.status, 0);
  close(channel);

  channel = weir_daemon_info(daemon, 0);
  unsigned char bytes[WEIR_ANSWER_SIZE];
  struct weir_daemon_state state = {0};
  CHECK_EQUAL(weir_parse_daemon_info(bytes, (ssize_t)read_all(channel, bytes, sizeof bytes), &state),
              1);
  CHECK_EQUAL(state.process, process);
  CHECK(state.clients >= 1);
  close(channel);

  channel = weir_daemon_metrics(daemon, 0);
  char text[16];
  CHECK_EQUAL(read_all(channel, text, sizeof text), sizeof text);
  close(channel);
  close(daemon);
}

enum { THREADS = 8, READS = 50 };

static void* read_often(void* daemon) {
  for (int i = 0; i < READS; ++i) {
    char bytes[WEIR_ANSWER_SIZE + 10];
    const int channel = weir_daemon_read(*(int*)daemon, "ten", 0, 0, 0);
    if (channel < 0 || read_all(channel, bytes, sizeof bytes) != sizeof bytes) return "short";
    if (memcmp(bytes + WEIR_ANSWER_SIZE, "0123456789", 10) != 0) return "not what was asked for";
    close(channel);
  }
  return NULL;
}

static void threads_share_a_connection(void) {
  int daemon = connected();
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; ++i) {
    if (pthread_create(&threads[i], NULL, read_often, &daemon) != 0) give_up("no thread");
  }
  for (int i = 0; i < THREADS; ++i) {
    void* complaint = NULL;
    pthread_join(threads[i], &complaint);
    CHECK(complaint == NULL);
  }
  close(daemon);
}

/* A daemon that does not take its messages: the connection fills, and says so; everything that it
 * took is answered afterwards. */
static void a_full_connection_says_so(void) {
  enum { MOST = 4096 };
  static int channels[MOST];
  const int daemon = connected();
  const int info = weir_daemon_info(daemon, 0);
  next_answer(info); /* it has been accepted */
  close(info);
  CHECK_EQUAL(fcntl(daemon, F_SETFL, O_NONBLOCK), 0);
  kill(process, SIGSTOP);
  int sent = 0;
  int error = 0;
  while (error == 0 && sent < MOST) {
    const int channel = weir_daemon_read(daemon, "ten", 0, 0, 0);
    if (channel < 0) error = channel;
    if (channel >= 0) channels[sent++] = channel;
  }
  CHECK_EQUAL(error, -EAGAIN);
  kill(process, SIGCONT);
  for (int i = 0; i < sent; ++i) {
    expect_info(channels[i], 10, 10);
    close(channels[i]);
  }
  close(daemon);
}

/* --- answers ------------------------------------------------------------------------------------- */

static void parsers_leave_alone_what_they_refuse(void) {
  struct weir_answer answer = {.kind = WEIR_FILE_INFO, .version = 1, .id = 5};
  struct weir_file_info info = {.id = 77};
  struct weir_transfer_status status = {.id = 77};
  struct weir_daemon_state state = {.id = 77};
  CHECK_EQUAL(weir_parse_file_info(&answer, 63, &info), 0);
  CHECK_EQUAL(weir_parse_file_info(&answer, -1, &info), 0);
  CHECK_EQUAL(weir_parse_file_info(NULL, 64, &info), -EINVAL);
  CHECK_EQUAL(weir_parse_file_info(&answer, 64, NULL), -EINVAL);
  CHECK_EQUAL(weir_parse_transfer_status(&answer, 64, &status), -EBADMSG);
  CHECK_EQUAL(weir_parse_daemon_info(&answer, 64, &state), -EBADMSG);
  answer.version = 2;
  CHECK_EQUAL(weir_parse_file_info(&answer, 64, &info), -EBADMSG);
  answer.version = 1;
  answer.kind = 0x90;
  CHECK_EQUAL(weir_parse_file_info(&answer, 64, &info), -EBADMSG);
  answer.kind = WEIR_ENDED;
  answer.status = INT32_MIN; /* which has no negation; found by fuzz/daemon_answers.cc */
  CHECK_EQUAL(weir_parse_file_info(&answer, 64, &info), -EBADMSG);
  answer.status = -EACCES;
  CHECK_EQUAL(weir_parse_file_info(&answer, 64, &info), -EACCES);
  CHECK_EQUAL(weir_parse_daemon_info(&answer, 64, &state), -EACCES);
  CHECK_EQUAL(info.id, 77);
  CHECK_EQUAL(status.id, 77);
  CHECK_EQUAL(state.id, 77);
  CHECK_EQUAL(weir_parse_transfer_status(&answer, 64, &status), 1);
  CHECK_EQUAL(status.status, -EACCES);
  answer = (struct weir_answer){.kind = WEIR_FILE_INFO, .version = 1, .id = 5};
  CHECK_EQUAL(weir_parse_file_info(&answer, 100, &info), 1);
  CHECK_EQUAL(info.id, 5);
}

/* --- the daemon's death ---------------------------------------------------------------------------- */

static void a_dead_daemon_ends_everything(void) {
  const int daemon = connected();
  const int channel = weir_daemon_open(daemon, "ten", 0, 0, 0);
  const uint64_t id = expect_info(channel, 10, 10);
  kill(process, SIGKILL);
  char more;
  CHECK_EQUAL(read_all(channel, &more, 1), 0); /* the end, without an answer */
  close(channel);
  CHECK_EQUAL(waitpid(process, NULL, 0), process);
  /* A ring lets go of its sockets a moment after its process has ended. */
  struct pollfd closed = {.fd = daemon, .events = 0};
  CHECK_EQUAL(poll(&closed, 1, 30000), 1);
  CHECK_EQUAL(weir_daemon_read(daemon, "ten", 0, 0, 0), -EPIPE);
  CHECK_EQUAL(weir_daemon_cancel(daemon, id), -EPIPE);
  close(daemon);
  CHECK_EQUAL(weir_connect(socket_path), -ECONNREFUSED); /* its socket is still there */
  start_daemon();
  a_file_is_read();
}

static void the_daemon_ends_when_asked(void) {
  CHECK_EQUAL(weir_daemon_shutdown(process), 0);
  CHECK_EQUAL(weir_daemon_shutdown(process), -ESRCH);
  process = 0;
  CHECK_EQUAL(weir_connect(socket_path), -ENOENT);
}

int main(int argc, char** argv) {
  if (argc != 2) give_up("usage: daemon_test COMMAND");
  command = argv[1];
  if (mkdtemp(directory) == NULL) give_up("no directory could be made");
  snprintf(socket_path, sizeof socket_path, "%s/socket", directory);
  make_file("ten", "0123456789", 10);

  connecting_to_nobody_says_so();
  parsers_leave_alone_what_they_refuse();
  requests_without_a_daemon_fail();
  spawn_refuses_what_cannot_be();
  start_daemon();
  a_second_one_is_not_started();
  connections_are_closed_at_exec();
  what_is_wrong_is_not_even_sent();
  a_file_is_read();
  a_refusal_is_told_on_the_channel();
  a_file_is_sent();
  an_opened_file_is_sent_when_asked();
  a_cancel_is_acknowledged();
  a_file_is_received();
  memory_is_read_and_written();
  what_is_asked_about_is_answered();
  threads_share_a_connection();
  a_full_connection_says_so();
  a_dead_daemon_ends_everything();
  the_daemon_ends_when_asked();

  unlink(path_of("ten"));
  unlink(path_of("socket"));
  unlink(path_of("socket.lock"));
  rmdir(directory);
  return failures == 0 ? 0 : 1;
}
