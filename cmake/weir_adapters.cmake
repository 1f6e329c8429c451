# Tests and examples of weir in other event loops, which need these from the system.
find_package(PkgConfig REQUIRED)
pkg_check_modules(libuv REQUIRED IMPORTED_TARGET libuv)

# What must hold in every loop: compiled once, linked with each loop's own test.
add_library(weir_every_loop OBJECT tests/adapters/event_loop.cc tests/adapters/every_loop.cc)
target_include_directories(weir_every_loop PRIVATE src tests)
target_link_libraries(weir_every_loop PUBLIC weir_test_support)
weir_warnings(weir_every_loop)

# weir_adapter(name library…): tests/adapters/<name>_test.cc.
function(weir_adapter name)
  weir_test(${name}_adapter_test tests/adapters/${name}_test.cc $<TARGET_OBJECTS:weir_every_loop>)
  target_link_libraries(${name}_adapter_test PRIVATE ${ARGN})
endfunction()

weir_adapter(epoll)
weir_adapter(libuv PkgConfig::libuv)
