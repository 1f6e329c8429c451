# Fuzzers, in fuzz/: preset `fuzz`, target `fuzzers`, run by fuzz/run. The library and the command are
# compiled once for all of them, with what libFuzzer wants to see.
if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "libFuzzer is clang's; use cmake --preset fuzz.")
endif()

add_custom_target(fuzzers)

# weir_fuzzer(name [source…]): fuzz/name.cc, with sources that are in no library.
function(weir_fuzzer name)
  add_executable(fuzz_${name} EXCLUDE_FROM_ALL fuzz/${name}.cc ${ARGN})
  set_target_properties(fuzz_${name} PROPERTIES
    OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/fuzzers")
  target_include_directories(fuzz_${name} PRIVATE src tests fuzz)
  target_link_libraries(fuzz_${name} PRIVATE weir::weir_static Threads::Threads)
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  weir_warnings(fuzz_${name})
  add_dependencies(fuzzers fuzz_${name})
endfunction()

set(weir_differential_sources
  tests/differential/script.cc tests/differential/world.cc tests/differential/asking.cc)

# The daemon, and those who speak with it.
weir_fuzzer(protocol_frame)
weir_fuzzer(operations_session)
weir_fuzzer(daemon_answers)
weir_fuzzer(remote_operations)
# The drivers.
weir_fuzzer(drivers ${weir_differential_sources})
weir_fuzzer(driver_name)
weir_fuzzer(directory_entries)
# Streams.
weir_fuzzer(reader)
weir_fuzzer(writer)
weir_fuzzer(streambuf)
# The daemon's process, and what is said of it.
weir_fuzzer(environment)
target_link_libraries(fuzz_environment PRIVATE weir_life)
weir_fuzzer(metrics
  tools/weir/top/samples.cc tools/weir/top/view.cc tools/weir/formatted.cc)
target_include_directories(fuzz_metrics PRIVATE tools/weir)
target_link_libraries(fuzz_metrics PRIVATE nlohmann_json::nlohmann_json)
# Measurements.
weir_fuzzer(report)
target_link_libraries(fuzz_report PRIVATE weir_report)
# The web server of the examples.
find_package(Boost 1.77 REQUIRED)
weir_fuzzer(http_request
  examples/http_file_server/request.cc examples/http_file_server/target.cc)
target_link_libraries(fuzz_http_request PRIVATE Boost::headers)
weir_fuzzer(http_conditions
  examples/http_file_server/conditions.cc examples/http_file_server/http_date.cc)
foreach(name http_request http_conditions)
  target_include_directories(fuzz_${name} PRIVATE examples/http_file_server)
endforeach()
# The command: all of it but its main function, and not faster than it takes to compile.
get_target_property(weir_command_sources weir_cli SOURCES)
list(REMOVE_ITEM weir_command_sources tools/weir/main.cc)
weir_fuzzer(command_line ${weir_command_sources})
target_include_directories(fuzz_command_line PRIVATE tools/weir)
target_compile_definitions(fuzz_command_line PRIVATE WEIR_VERSION="${PROJECT_VERSION}")
target_compile_options(fuzz_command_line PRIVATE -O0)
target_link_libraries(fuzz_command_line PRIVATE
  weir_life weir_report CLI11::CLI11 nlohmann_json::nlohmann_json PkgConfig::xxhash
  PkgConfig::ncurses)
weir_fuzzer(mounts tools/weir/mount_table.cc)
target_include_directories(fuzz_mounts PRIVATE tools/weir)
