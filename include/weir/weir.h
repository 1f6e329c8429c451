#ifndef WEIR_WEIR_H
#define WEIR_WEIR_H

/* weir for C. Part 1: operations; part 2, below: files that behave like sockets; part 3, in
 * <weir/daemon.h>, which this includes: a client of the daemon.
 *
 *     static void done(struct weir_op* op, int64_t result, void* user) {
 *       if (result < 0) fprintf(stderr, "read: %s\n", strerror((int)-result));
 *     }
 *     ...
 *     weir_context* context;
 *     int error = weir_context_create(&context, NULL);
 *     struct weir_op op = WEIR_OP_INIT;
 *     error = weir_read(context, &op, fd, memory, sizeof memory, 0, done, NULL);
 *     error = weir_context_run(context);         // until nothing is outstanding; done was called
 *     weir_context_destroy(context);
 *
 * Functions return 0 or a count, or a negative errno; errno itself is left alone. What the operation
 * came to is told to its `done`: a count, a descriptor or 0, or a negative errno, as the system call
 * named at each function has it. At the end of a file, 0.
 *
 * What follows holds for part 1.
 *
 * Threads: a context belongs to the first thread that drives it (run, dispatch, flush). Operations
 * may be started on any thread; `done` runs on the context's, from its loop, exactly once for each
 * start that returned 0; it may start operations, also the same one again. Other functions are for
 * the context's thread. Driving a context from a second thread, or from within `done`, aborts the
 * program with a sentence.
 *
 * Ownership: an operation is the caller's memory. It stays where it is, as do the buffers, paths,
 * names and arrays given with it, until `done` is called. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <weir/daemon.h>

#ifdef __cplusplus
extern "C" {
#endif

struct iovec;    /* <sys/uio.h> */
struct open_how; /* <linux/openat2.h> */
struct statx;    /* <sys/stat.h> */

/* NOLINTBEGIN(modernize-use-using): C has no other. */

/* Opaque: one thread, one driver. */
typedef struct weir_context weir_context;

/* One operation, in its caller's memory. The contents are weir's. Initialised once with
 * WEIR_OP_INIT (or zeros), used any number of times, one after the other. */
struct weir_op {
  uint64_t opaque[16];
};
#define WEIR_OP_INIT {{0}}

/* Called when `op` has finished. `result` as above; `user` as it was given. */
typedef void weir_done(struct weir_op* op, int64_t result, void* user);
/* NOLINTEND(modernize-use-using) */

/* Options begin with their size, so that they can grow: set it to sizeof, and the rest to zero
 * where a default is wanted. A size that this library does not know yet is fine as long as what it
 * does not know is zero (E2BIG otherwise). */
struct weir_options {
  size_t size;
  const char* driver;   /* "uring", "linux_aio", "threads", "sync", "merging:uring"…; NULL: the best.
                           The environment variable WEIR_DRIVER replaces NULL. */
  uint32_t queue_depth; /* the most in flight, 1 to 16384; 0 means 256; any number may be started */
  uint32_t threads;     /* the most that carry out what the kernel cannot; 0 means 16 */
};

/* --- contexts --------------------------------------------------------------------------------- */

/* Opens a driver and makes a context. `options` may be NULL. EINVAL; ENOMEM, EMFILE…; ENOENT for a
 * driver's name that does not exist; else why the named driver, or the last by default, is not
 * available here: weir_explain says it in words. */
int weir_context_create(weir_context** context, const struct weir_options* options);

/* Tries to open a driver as weir_context_create would, and writes to `text` one line for each that
 * was tried: what was refused, the likely cause, the remedy. At most `size` bytes, ending in NUL;
 * returns the length of the whole text, as snprintf(3). */
int64_t weir_explain(const struct weir_options* options, char* text, size_t size);

/* Cancels what is in flight, waits until the kernel has let go of it, calls every `done`, frees. NULL
 * does nothing. */
void weir_context_destroy(weir_context* context);

/* Drives the context until nothing is outstanding. */
int weir_context_run(weir_context* context);

/* One turn: hands over what was started, takes what has finished and calls its `done`. With `wait`
 * (not 0) blocks until at least one was called. Returns how many. */
int64_t weir_context_dispatch(weir_context* context, int wait);

/* Hands what was started to the kernel now: before waiting at weir_context_fd, if anything was
 * started since the last dispatch without waiting. */
int weir_context_flush(weir_context* context);

/* Readable (poll(2), epoll(7)) when a dispatch without waiting has something to do. Not to be read,
 * written or closed. */
int weir_context_fd(weir_context* context);

/* Operations started and not finished, those that other threads have just posted not yet counted. */
int64_t weir_context_outstanding(weir_context* context);

/* --- an operation --------------------------------------------------------------------------------
 * Starting one that is in flight is refused: EBUSY. A NULL context, operation or `done` is EINVAL. */

/* Whether it has been started and has not finished (1 or 0). */
int weir_op_in_flight(const struct weir_op* op);
/* What it came to, as `done` was told; 0 before. */
int64_t weir_op_result(const struct weir_op* op);

/* --- transfers ------------------------------------------------------------------------------------
 * Positional; the offset is ignored where a descriptor cannot seek. May be short. `flags` are RWF_*
 * of preadv2(2). At most 0x7ffff000 bytes are moved by one. */
int weir_read(weir_context*, struct weir_op*, int fd, void* memory, size_t length, uint64_t offset,
              weir_done* done, void* user);
int weir_write(weir_context*, struct weir_op*, int fd, const void* memory, size_t length,
               uint64_t offset, weir_done* done, void* user);
int weir_read_flags(weir_context*, struct weir_op*, int fd, void* memory, size_t length,
                    uint64_t offset, uint32_t flags, weir_done* done, void* user);
int weir_write_flags(weir_context*, struct weir_op*, int fd, const void* memory, size_t length,
                     uint64_t offset, uint32_t flags, weir_done* done, void* user);
int weir_readv(weir_context*, struct weir_op*, int fd, const struct iovec* vector, uint32_t count,
               uint64_t offset, uint32_t flags, weir_done* done, void* user);
int weir_writev(weir_context*, struct weir_op*, int fd, const struct iovec* vector, uint32_t count,
                uint64_t offset, uint32_t flags, weir_done* done, void* user);
/* splice(2), copy_file_range(2): an offset of UINT64_MAX is none, as for a pipe. */
int weir_splice(weir_context*, struct weir_op*, int from, uint64_t from_offset, int to,
                uint64_t to_offset, size_t length, uint32_t flags, weir_done* done, void* user);
int weir_copy_file_range(weir_context*, struct weir_op*, int from, uint64_t from_offset, int to,
                         uint64_t to_offset, size_t length, weir_done* done, void* user);

/* --- files ------------------------------------------------------------------------------------- */

int weir_fsync(weir_context*, struct weir_op*, int fd, weir_done* done, void* user);
int weir_fdatasync(weir_context*, struct weir_op*, int fd, weir_done* done, void* user);
int weir_sync_file_range(weir_context*, struct weir_op*, int fd, uint64_t offset, uint64_t length,
                         uint32_t flags, weir_done* done, void* user);
int weir_ftruncate(weir_context*, struct weir_op*, int fd, uint64_t size, weir_done* done,
                   void* user);
int weir_fallocate(weir_context*, struct weir_op*, int fd, uint32_t mode, uint64_t offset,
                   uint64_t length, weir_done* done, void* user);
int weir_fadvise(weir_context*, struct weir_op*, int fd, uint64_t offset, uint64_t length,
                 int advice, weir_done* done, void* user);
int weir_madvise(weir_context*, struct weir_op*, void* memory, size_t length, int advice,
                 weir_done* done, void* user);
int weir_fgetxattr(weir_context*, struct weir_op*, int fd, const char* name, void* value,
                   size_t size, weir_done* done, void* user);
int weir_fsetxattr(weir_context*, struct weir_op*, int fd, const char* name, const void* value,
                   size_t size, uint32_t flags, weir_done* done, void* user);
/* close(2). The descriptor is closed whatever the result; the caller sees to it that nothing else is
 * in flight on it. */
int weir_close(weir_context*, struct weir_op*, int fd, weir_done* done, void* user);

/* --- names ----------------------------------------------------------------------------------------
 * `directory` is an open directory's descriptor, or AT_FDCWD. */

int weir_openat(weir_context*, struct weir_op*, int directory, const char* path, int flags,
                mode_t mode, weir_done* done, void* user);
int weir_openat2(weir_context*, struct weir_op*, int directory, const char* path,
                 const struct open_how* how, size_t how_size, weir_done* done, void* user);
int weir_statx(weir_context*, struct weir_op*, int directory, const char* path, int flags,
               uint32_t mask, struct statx* into, weir_done* done, void* user);
int weir_renameat(weir_context*, struct weir_op*, int from_directory, const char* from,
                  int to_directory, const char* to, uint32_t flags, weir_done* done, void* user);
int weir_unlinkat(weir_context*, struct weir_op*, int directory, const char* path, int flags,
                  weir_done* done, void* user);
int weir_mkdirat(weir_context*, struct weir_op*, int directory, const char* path, mode_t mode,
                 weir_done* done, void* user);
int weir_linkat(weir_context*, struct weir_op*, int from_directory, const char* from,
                int to_directory, const char* to, int flags, weir_done* done, void* user);
int weir_symlinkat(weir_context*, struct weir_op*, const char* target, int directory,
                   const char* path, weir_done* done, void* user);
/* getdents64(2): entries of the directory that `fd` is, as struct linux_dirent64; 0 at its end. */
int weir_getdents(weir_context*, struct weir_op*, int fd, void* entries, size_t size,
                  weir_done* done, void* user);

/* --- waiting --------------------------------------------------------------------------------------
 * These take no thread, and no room in the queue. */

/* poll(2): the result is those of `events` that are so, with POLLERR and POLLHUP. */
int weir_poll(weir_context*, struct weir_op*, int fd, uint32_t events, weir_done* done, void* user);
/* Finishes with 0 when `nanoseconds` have passed. */
int weir_sleep(weir_context*, struct weir_op*, uint64_t nanoseconds, weir_done* done, void* user);
/* Finishes with 0 in the context's next turn: to call `done` on its thread. */
int weir_nop(weir_context*, struct weir_op*, weir_done* done, void* user);

/* --- cancelling -----------------------------------------------------------------------------------
 * What the kernel did wins. Cancelling is an operation of its own; the target stays where it is until
 * the cancel, too, has finished. Result 0: the target was given up and finishes with ECANCELED;
 * EALREADY: it cannot be stopped; ENOENT: it is not in flight. */
int weir_cancel(weir_context*, struct weir_op*, struct weir_op* target, weir_done* done, void* user);
/* All that is in flight on a descriptor, or on the context. */
int weir_cancel_fd(weir_context*, struct weir_op*, int fd, weir_done* done, void* user);
int weir_cancel_all(weir_context*, struct weir_op*, weir_done* done, void* user);

/* --- ready files ----------------------------------------------------------------------------------
 * Part 2: files that behave like sockets. Try; where it would have to wait, -EAGAIN; be told; try
 * again.
 *
 *     weir_files* files;
 *     int error = weir_files_create(&files, NULL);        // watch weir_files_fd(files)
 *     int in = weir_file_open(files, "input", O_RDONLY, 0);
 *     int64_t got = weir_file_read(files, in, memory, sizeof memory);
 *     if (got == -EAGAIN) return;                         // later
 *     ...
 *     struct weir_event event;
 *     while (weir_files_next(files, &event) == 1) {       // when that is readable
 *       if (event.handle == in && event.what == WEIR_READABLE) read_on();
 *     }
 *
 * Each function returns at once, but for weir_file_close_and_wait and weir_files_destroy: a thread of
 * the table's does what has to wait. Any thread may call any of them; calls for one handle take turns.
 * Memory that is given is only used during the call. A child of fork(2) must not use a table.
 *
 * Events are told by one of: weir_files_fd and weir_files_next (also without the descriptor, now and
 * then), or a callback. They have to be taken: a handle is free again when its WEIR_CLOSED has been.
 *
 * -EINVAL for a NULL table. -EBADF for a number that is no handle, or that is being closed; -EAGAIN
 * while a file is being opened; what opening failed with, until it is closed. */

/* NOLINTBEGIN(modernize-use-using) */
/* Opaque: a table of files, with handles of its own. */
typedef struct weir_files weir_files;
/* NOLINTEND(modernize-use-using) */

/* As struct weir_options: its size first; zero is the default. */
struct weir_files_options {
  size_t size;
  const char* driver; /* these three as there */
  uint32_t queue_depth;
  uint32_t threads;
  size_t files;        /* the most handles at a time, those counted whose WEIR_CLOSED has not been
                          taken; 0 means 1024 */
  size_t read_ahead;   /* the most bytes read ahead at a time, of which a handle has two pieces at
                          most; rounded up to a multiple of 4096; 0 means 256 KiB */
  size_t write_behind; /* the most bytes that a handle has accepted and not written, exactly; SIZE_MAX
                          is no bound; 0 means 1 MiB */
  size_t block_size;   /* what is accepted is written in pieces of this size at most; rounded up to a
                          multiple of 4096; 0 means 128 KiB */
  uint32_t flush_after_ms; /* how long a piece that is not full lies in memory; 0 means 1000 */
  uint32_t reserved;       /* 0 */
};

/* NOLINTBEGIN(readability-identifier-naming): in capitals, as C's constants are. */

/* Single bits: of `what` in an event; the first two also of weir_file_poll and weir_file_seek. */
enum {
  WEIR_READABLE = 1,
  WEIR_WRITABLE = 2,
  WEIR_OPENED = 4,
  WEIR_SYNCED = 8,
  WEIR_CLOSED = 16
};

/* How durably weir_file_sync writes. */
enum {
  WEIR_SYNC_DATA = 0, /* fdatasync(2) */
  WEIR_SYNC_FULL = 1, /* fsync(2) */
  WEIR_SYNC_NONE = 2  /* only writes */
};
/* NOLINTEND(readability-identifier-naming) */

struct weir_event {
  int handle;
  unsigned what;  /* one of the bits above */
  int64_t result; /* 0, or of WEIR_OPENED, WEIR_SYNCED and WEIR_CLOSED a negative errno: why that
                     failed */
};

/* NOLINTNEXTLINE(modernize-use-using) */
typedef void weir_on_event(const struct weir_event* event, void* user);

/* Opens a driver, makes a table and starts its thread. `options` may be NULL. As
 * weir_context_create; -EAGAIN where the system has no thread to give. */
int weir_files_create(weir_files** files, const struct weir_files_options* options);

/* Closes what is open, and waits until everything accepted has been written; of an error nobody
 * hears. Not from the callback. NULL does nothing. */
void weir_files_destroy(weir_files* files);

/* Readable (poll(2), epoll(7)) while there are events to take. Not to be read, written or closed. */
int weir_files_fd(weir_files* files);

/* Takes the next event: 1, or 0 if there is none. */
int weir_files_next(weir_files* files, struct weir_event* event);

/* From now on events are told by calling `tell`, on the table's thread, which it must not hold up; it
 * may use the table. NULL: by weir_files_next again; then no call is under way any more on return,
 * unless it is the caller's own. Not from several threads at a time. */
int weir_files_on_event(weir_files* files, weir_on_event* tell, void* user);

/* Begins to open, by open(2)'s flags and mode, and returns the handle at once; a WEIR_OPENED event
 * tells what came of it: -EISDIR for a directory, -ESPIPE for what cannot seek. With O_DIRECT,
 * alignment is not the caller's business; where the file system has none, it is opened without.
 * -EMFILE: the table is full. */
int weir_file_open(weir_files* files, const char* path, int flags, mode_t mode);

/* How far a handle has got: 0, it is open; -EAGAIN, it is being opened; what opening failed with;
 * -EINPROGRESS, it is being closed, or its WEIR_CLOSED has not been taken; -EBADF, it is none. */
int weir_file_status(weir_files* files, int handle);

/* Reads on at the read position: what is at hand, at most `size` bytes; 0 at the end of the file,
 * where each call asks anew, so that growth is seen. -EAGAIN: it has to be fetched; that has begun,
 * and a WEIR_READABLE event follows. An error of that is told once. */
int64_t weir_file_read(weir_files* files, int handle, void* memory, size_t size);

/* Accepts bytes for the write position, as many as there is room for, and copies them. -EAGAIN: there
 * is none; a WEIR_WRITABLE event follows when half of it is free. The first error of writing what
 * has been accepted is told by every later write and sync, and by WEIR_CLOSED. */
int64_t weir_file_write(weir_files* files, int handle, const void* memory, size_t size);

/* What a read or a write would not answer with -EAGAIN, as far as is known: WEIR_READABLE,
 * WEIR_WRITABLE, both or 0. Changes nothing, and no event follows. */
int weir_file_poll(weir_files* files, int handle);

/* Where the next byte is read (`which` has WEIR_READABLE), written (WEIR_WRITABLE), or both; the two
 * positions have nothing to do with each other. -EINVAL for another `which`, and above 2^63 - 1. */
int weir_file_seek(weir_files* files, int handle, uint64_t position, unsigned which);

/* Writes what has been accepted, then makes it durable as `how` says; a WEIR_SYNCED event tells the
 * outcome. -EALREADY until the event of the one before has been taken. One that fails with -EIO,
 * -ENOSPC or -EDQUOT has lost writes: it fails for good. */
int weir_file_sync(weir_files* files, int handle, unsigned how);

/* Writes what has been accepted, closes, and tells by a WEIR_CLOSED event: the first error of a write
 * or a failed sync, or close(2)'s. Nothing else is heard of the handle from here on. */
int weir_file_close(weir_files* files, int handle);
/* The same, and waits and returns that; there is no event. Also for what is being closed. -EDEADLK
 * from the callback. */
int weir_file_close_and_wait(weir_files* files, int handle);

#ifdef __cplusplus
}
#endif

#endif
