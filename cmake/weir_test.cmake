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
  target_include_directories(${name} PRIVATE
    "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/tests")
  target_link_libraries(${name} PRIVATE
    weir_test_support weir::weir_static GTest::gtest_main GTest::gtest)
  weir_warnings(${name})
  # The tests' own code need not be quick; to compile it is most of what a sanitizer's build takes.
  target_compile_options(${name} PRIVATE ${WEIR_TEST_OPTIONS})

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
