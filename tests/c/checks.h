/* What the tests in C check with. */
#ifndef WEIR_TESTS_C_CHECKS_H
#define WEIR_TESTS_C_CHECKS_H

#include <stdio.h>

static int failures;

#define CHECK(condition)                                                      \
  do {                                                                        \
    if (!(condition)) {                                                       \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                             \
    }                                                                         \
  } while (0)

#define CHECK_EQUAL(actual, expected)                                            \
  do {                                                                           \
    long long is = (long long)(actual), should = (long long)(expected);          \
    if (is != should) {                                                          \
      fprintf(stderr, "%s:%d: %s is %lld instead of %lld\n", __FILE__, __LINE__, \
              #actual, is, should);                                              \
      ++failures;                                                                \
    }                                                                            \
  } while (0)

#endif
