# examples/http_file_server, and its test.
find_package(Boost 1.77 REQUIRED)
find_package(Python3 REQUIRED COMPONENTS Interpreter)

add_executable(http_file_server
  examples/http_file_server/main.cc
  examples/http_file_server/server.cc
  examples/http_file_server/event_loop.cc
  examples/http_file_server/connection.cc
  examples/http_file_server/client_socket.cc
  examples/http_file_server/file_cache.cc
  examples/http_file_server/request.cc
  examples/http_file_server/target.cc
  examples/http_file_server/conditions.cc
  examples/http_file_server/response.cc
  examples/http_file_server/listing.cc
  examples/http_file_server/http_date.cc
  examples/http_file_server/media_type.cc
  examples/http_file_server/stall_meter.cc)
target_link_libraries(http_file_server PRIVATE weir::weir_static CLI11::CLI11 Boost::headers)
set_target_properties(http_file_server PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/examples")
weir_warnings(http_file_server)
weir_quickly_compiled(http_file_server)
# To look at an object's type the sanitizer opens a pipe. A test takes all descriptors from the server,
# and it would then find every type wrong.
target_compile_options(http_file_server PRIVATE -fno-sanitize=vptr)

foreach(about content conditions clients)
  add_test(NAME http_file_server_${about}
    COMMAND Python3::Interpreter "${PROJECT_SOURCE_DIR}/tests/http_file_server/${about}_test.py")
  set_tests_properties(http_file_server_${about} PROPERTIES
    ENVIRONMENT "HTTP_FILE_SERVER=$<TARGET_FILE:http_file_server>;PYTHONDONTWRITEBYTECODE=1")
endforeach()
