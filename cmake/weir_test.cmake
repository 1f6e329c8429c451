# weir_test(name source… [SERIAL] [TIMEOUT seconds]): one test program, one test to ctest.
#
# SERIAL     runs alone: for a test that measures, or changes something that others see.
# TIMEOUT    when the preset's is not enough.
#
# Not a ctest test per case: the conformance suite has hundreds, and starting each would cost more
# than running it. Each program instead leaves its cases' outcomes in test-results/<name>.json.
function(weir_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL" "TIMEOUT" "")
  add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
  target_link_libraries(${name} PRIVATE weir_test_support GTest::gtest_main)
  weir_test_compilation(${name})
  target_precompile_headers(${name} REUSE_FROM weir_test_precompiled)

  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES
    ENVIRONMENT "GTEST_OUTPUT=json:${PROJECT_BINARY_DIR}/test-results/${name}.json")
  if(arg_SERIAL)
    set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
  endif()
  if(arg_TIMEOUT)
    set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT})
  endif()
endfunction()

# How tests are compiled, and what they include first.
function(weir_test_compilation target)
  target_include_directories(${target} PRIVATE
    "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/tests")
  target_link_libraries(${target} PRIVATE weir::weir_static GTest::gtest)
  weir_warnings(${target})
  weir_quickly_compiled(${target})
endfunction()

# To read what most tests include takes a third of their compilation, so it is read once; but not by
# the preset release, where an include that is missing shows (CMAKE_DISABLE_PRECOMPILE_HEADERS).
function(weir_precompile_tests)
  add_library(weir_test_precompiled OBJECT "${PROJECT_SOURCE_DIR}/tests/support/precompiled.cc")
  weir_test_compilation(weir_test_precompiled)
  target_precompile_headers(weir_test_precompiled PRIVATE
    "${PROJECT_SOURCE_DIR}/tests/support/support.hpp")
endfunction()

# weir_c_test(name source…): a test program in C, linked as C programs are; who calls this adds its
# tests.
function(weir_c_test name)
  add_executable(${name} ${ARGN})
  set_target_properties(${name} PROPERTIES
    C_STANDARD 11 RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
  target_compile_options(${name} PRIVATE -Wall -Wextra)
  target_link_libraries(${name} PRIVATE weir::weir Threads::Threads)
endfunction()
