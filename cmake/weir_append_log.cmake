# examples/append_log: the log, a program that uses it on real files, and its tests.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

add_library(append_log_library STATIC
  examples/append_log/record.cc
  examples/append_log/log.cc
  examples/append_log/recover.cc)
target_link_libraries(append_log_library PUBLIC weir::weir_static PRIVATE PkgConfig::xxhash)
add_executable(append_log examples/append_log/main.cc)
target_link_libraries(append_log PRIVATE append_log_library)
foreach(target append_log_library append_log)
  set_target_properties(${target} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/examples")
  weir_warnings(${target})
endforeach()

add_test(NAME append_log_on_real_files
  COMMAND Python3::Interpreter "${PROJECT_SOURCE_DIR}/tests/append_log/real_files_test.py")
set_tests_properties(append_log_on_real_files PROPERTIES
  ENVIRONMENT "APPEND_LOG=$<TARGET_FILE:append_log>;PYTHONDONTWRITEBYTECODE=1")

# The same on a simulated disk, whose power fails at every operation; fewer seeds where the compiler
# does not optimize.
add_executable(append_log_crash_test examples/append_log/crash_test.cc)
target_link_libraries(append_log_crash_test PRIVATE append_log_library)
set_target_properties(append_log_crash_test PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/examples")
weir_warnings(append_log_crash_test)
add_test(NAME append_log_crash_test
  COMMAND append_log_crash_test --seeds $<IF:$<CONFIG:Debug>,100,2000>)
