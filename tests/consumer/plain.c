/* A C program that uses an installed weir: writes a file and reads it back. plain FILE */
#define _GNU_SOURCE /* AT_FDCWD */

#include <weir/weir.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static void keep(struct weir_op* op, int64_t result, void* user) {
  (void)op;
  *(int64_t*)user = result;
}

int main(int count, char** arguments) {
  if (count != 2) return 2;
  weir_context* context;
  int error = weir_context_create(&context, NULL);
  if (error < 0) {
    fprintf(stderr, "consumer: no context: %s\n", strerror(-error));
    return 1;
  }
  struct weir_op op = WEIR_OP_INIT;
  int64_t file = -1, written = -1, read = -1, closed = -1;
  char memory[5] = {0};
  weir_openat(context, &op, AT_FDCWD, arguments[1], O_RDWR | O_CREAT | O_TRUNC, 0600, keep, &file);
  weir_context_run(context);
  weir_write(context, &op, (int)file, "weir", 4, 0, keep, &written);
  weir_context_run(context);
  weir_read(context, &op, (int)file, memory, 4, 0, keep, &read);
  weir_context_run(context);
  weir_close(context, &op, (int)file, keep, &closed);
  weir_context_run(context);
  weir_context_destroy(context);
  return written == 4 && read == 4 && closed == 0 && strcmp(memory, "weir") == 0 ? 0 : 1;
}
