// What the tests' precompiled header is made with: see cmake/weir_test.cmake.
#include "support/support.hpp"
