#ifndef WEIR_DAEMON_H
#define WEIR_DAEMON_H

/* weir for C. Part 3: a client of the daemon (`weir serve`), by descriptors alone, for any event
 * loop. <weir/weir.h> includes it.
 *
 *     int daemon = weir_connect("films");
 *     int film = weir_daemon_read(daemon, "one.mkv", 0, WEIR_TO_THE_END, 0);
 *     unsigned char bytes[WEIR_ANSWER_SIZE];
 *     struct weir_file_info info;
 *     int known = weir_parse_file_info(bytes, read(film, bytes, sizeof bytes), &info);
 *     if (known < 0) fprintf(stderr, "one.mkv: %s\n", strerror(-known));
 *     ...                                            // then info.length bytes, then the end
 *     close(film);
 *
 * Each request returns the reading end of a new pipe, the request's channel. It is closed at exec,
 * and blocks unless WEIR_NONBLOCK is among the flags. On it come answers, of 64 bytes each: first
 * the file's information, then progress, at last the end, with an errno of what failed, and then
 * end of file. An end of file without that last answer means that the daemon has gone, or was never
 * going to answer this user. Closing a channel ends what the daemon does for it, as soon as it has
 * something to say there. A descriptor that is given may be closed as soon as the call has returned,
 * and its flags are never changed.
 *
 * Functions return a descriptor or 0, or a negative errno; errno itself is left alone. -EAGAIN: the
 * connection is full, and does not block; -EPIPE: the daemon has gone; -EACCES: it does not serve
 * this user. Whatever is returned, if it is negative, nothing has been asked. What the daemon thinks
 * of a request is told on the channel only.
 *
 * A connection is a descriptor, too, and nothing else: any threads may use it at a time, and close(2)
 * ends it, with all transfers that were begun through it. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* NOLINTBEGIN(readability-identifier-naming): in capitals, as C's constants are. */

/* A length: whatever follows, to the end of the file. 0 means the same, but for transfers from and
 * to memory, which say how much. An empty range cannot be asked for. */
#define WEIR_TO_THE_END UINT64_MAX

/* What each answer takes. */
#define WEIR_ANSWER_SIZE 64

/* Flags of requests. */
enum {
  WEIR_LOCK = 1,      /* an OFD lock on exactly the range, until the transfer's end: of reading a
                         shared one, of writing an exclusive one. Not waited for: -EAGAIN */
  WEIR_CREATE = 2,    /* of what is written to: O_CREAT */
  WEIR_EXCLUSIVE = 4, /* O_EXCL, with WEIR_CREATE */
  WEIR_TRUNCATE = 8,  /* O_TRUNC */
  WEIR_DURABLE = 16,  /* on the disk before the end is told */
  WEIR_DATA_ONLY = 32, /* of weir_daemon_sync: fdatasync(2) */
  WEIR_NONBLOCK = 1 << 16 /* of the descriptor that is returned: O_NONBLOCK */
};

/* What an answer is. */
enum {
  WEIR_FILE_INFO = 0x81,
  WEIR_PROGRESS = 0x82,
  WEIR_ENDED = 0x83,
  WEIR_DAEMON_INFO = 0x84
};
/* NOLINTEND(readability-identifier-naming) */

/* --- connections ------------------------------------------------------------------------------- */

/* Connects to a daemon by the path of its socket, or, where that has no slash, by its name: then it is
 * the one that this user has started with `weir serve --name`, or else root's. -ENOENT,
 * -ECONNREFUSED: there is none; -EACCES: it is not for this user, or by name another user's. */
int weir_connect(const char* socket_path);

/* --- transfers ------------------------------------------------------------------------------------
 * Paths are relative to the daemon's root, and cannot leave it. -EINVAL for a range that ends above
 * 2^63 - 1 and for flags that a request does not have, -ENAMETOOLONG. */

/* The file's information, its bytes, end of file. When fewer bytes come than the information said,
 * the transfer has failed. */
int weir_daemon_read(int daemon, const char* path, uint64_t offset, uint64_t length,
                     unsigned flags);

/* Sends a part of the file to a socket, a pipe or a file. */
int weir_daemon_send(int daemon, const char* path, int destination, uint64_t offset,
                     uint64_t length, unsigned flags);

/* Opens, and locks if asked: the information comes, with the id, and the daemon waits for the two
 * below, or until it has waited long enough (then the end is -ETIMEDOUT). */
int weir_daemon_open(int daemon, const char* path, uint64_t offset, uint64_t length,
                     unsigned flags);
/* Sends what was opened; answers come on the channel that weir_daemon_open has returned. 0: asked.
 * Of an id that is none, or no more, nothing is heard. */
int weir_daemon_send_open(int daemon, uint64_t id, int destination);

/* Ends a transfer of this connection: its channel hears -ECANCELED. Waits until the daemon has done
 * so: 0, or -ENOENT when there was no such transfer, or no more; -ECONNRESET when the daemon went. */
int weir_daemon_cancel(int daemon, uint64_t id);

/* Writes what comes from a socket or a pipe, to its end or up to `length` bytes, into a file; `mode`
 * is that of a file which is created. -EROFS where the daemon lets nobody write. */
int weir_daemon_receive(int daemon, const char* path, int source, uint64_t offset, uint64_t length,
                        unsigned flags, mode_t mode);

/* From a file into memory that is shared by a descriptor (memfd_create(2), shm_open(3)), and back. */
int weir_daemon_read_memory(int daemon, const char* path, int memory, uint64_t memory_offset,
                            uint64_t offset, uint64_t length, unsigned flags);
int weir_daemon_write_memory(int daemon, const char* path, int memory, uint64_t memory_offset,
                             uint64_t offset, uint64_t length, unsigned flags, mode_t mode);

/* The file's information alone. */
int weir_daemon_stat(int daemon, const char* path, unsigned flags);
/* fsync(2), or with WEIR_DATA_ONLY fdatasync(2). */
int weir_daemon_sync(int daemon, const char* path, unsigned flags);
/* What the daemon is and allows. */
int weir_daemon_info(int daemon, unsigned flags);
/* What it has counted: no answers, but text, as Prometheus reads it. */
int weir_daemon_metrics(int daemon, unsigned flags);

/* --- answers --------------------------------------------------------------------------------------
 * As they come. Times are in nanoseconds since 1970. */

/* Any of them, by its beginning. */
struct weir_answer {
  uint16_t kind; /* WEIR_FILE_INFO… */
  uint16_t version;
  int32_t status; /* 0 or a negative errno */
  uint64_t tag;
  uint64_t id;
  uint64_t values[5];
};

struct weir_file_info {
  uint16_t kind;
  uint16_t version;
  int32_t status;
  uint64_t tag;
  uint64_t id;     /* of the transfer: for weir_daemon_send_open and weir_daemon_cancel */
  uint64_t length; /* how many bytes will be moved */
  uint64_t size;   /* of the whole file */
  int64_t accessed_ns;
  int64_t modified_ns;
  int64_t changed_ns;
};

/* Progress, and the end. Of one transfer, `bytes` adds up to `total`. */
struct weir_transfer_status {
  uint16_t kind; /* WEIR_PROGRESS, or at last WEIR_ENDED */
  uint16_t version;
  int32_t status; /* of the end: 0 or what failed, a negative errno */
  uint64_t tag;
  uint64_t id;
  uint64_t bytes; /* moved since the last answer */
  uint64_t total; /* moved so far */
  uint64_t reserved[3];
};

struct weir_daemon_state {
  uint16_t kind;
  uint16_t version;
  int32_t status;
  uint64_t tag;
  uint64_t id;
  uint64_t process;
  uint64_t flags; /* 1: it lets clients write */
  uint64_t transfers_max;
  uint64_t transfers;
  uint64_t clients;
};

/* Reads an answer out of `size` bytes, as read(2) has returned them; more are not looked at. 1: it
 * is in place. 0: these are not all 64 bytes, as also where read(2) has failed. Negative: the errno
 * that the answer refuses the request with, or -EBADMSG for an answer of another kind or version,
 * and for what is none. Unless it is 1, nothing is written to.
 *
 * An end is a transfer's status also when it says what failed, so that the bytes moved before can be
 * known: then, too, 1. */
int weir_parse_answer(const void* bytes, ssize_t size, struct weir_answer* answer);
int weir_parse_file_info(const void* bytes, ssize_t size, struct weir_file_info* info);
int weir_parse_transfer_status(const void* bytes, ssize_t size,
                               struct weir_transfer_status* status);
int weir_parse_daemon_info(const void* bytes, ssize_t size, struct weir_daemon_state* state);

/* --- the daemon's process ------------------------------------------------------------------------- */

/* As struct weir_options: its size first; zero is the default. */
struct weir_daemon_options {
  size_t size;
  const char* program;     /* the command; NULL: `weir`, looked up in PATH */
  const char* root;        /* the directory that is served; needed */
  const char* name;        /* one of these two: its name, */
  const char* socket_path; /* or where its socket is to be */
  uint32_t max_transfers;
  uint32_t open_timeout_ms;  /* how long an opened file waits to be sent */
  uint32_t allow_write;      /* not 0: clients may write */
  uint32_t reserved;         /* 0 */
  const char* const* others; /* further options of `weir serve`, up to a NULL; or NULL */
};

/* Starts a daemon, and returns when it accepts connections: 0. `*process` is its process, the
 * caller's child, or 0 where one of that name, or at that socket, is running already. Or a negative
 * errno: what starting the program came to, or what the daemon ended with before it was ready. The
 * child has no other descriptors of this process than standard output and standard error, and no
 * signal blocked. */
int weir_daemon_spawn(const struct weir_daemon_options* options, pid_t* process);

/* Asks the daemon to finish what has begun and to end (SIGTERM), and waits until it has: its status,
 * as waitpid(2) has it, or a negative errno. */
int weir_daemon_shutdown(pid_t process);

#ifdef __cplusplus
}
#endif

#endif
