# weir in other event loops: their tests and examples, which need these from the system.
find_package(PkgConfig REQUIRED)
pkg_check_modules(libuv REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(libevent REQUIRED IMPORTED_TARGET libevent_core)
pkg_check_modules(glib REQUIRED IMPORTED_TARGET glib-2.0)
find_library(WEIR_LIBEV ev REQUIRED)
# Asio's two forms are headers only.
find_path(WEIR_ASIO_INCLUDE asio.hpp REQUIRED)
find_package(Boost 1.77 REQUIRED)

# What must hold in every loop: compiled once, linked with each loop's own test.
add_library(weir_every_loop OBJECT tests/adapters/event_loop.cc tests/adapters/every_loop.cc)
target_include_directories(weir_every_loop PRIVATE src tests)
target_link_libraries(weir_every_loop PUBLIC weir_test_support)
weir_warnings(weir_every_loop)
weir_quickly_compiled(weir_every_loop)

# weir_adapter(name library…): tests/adapters/<name>_test.cc and examples/<name>.cc.
function(weir_adapter name)
  weir_test(${name}_adapter_test tests/adapters/${name}_test.cc $<TARGET_OBJECTS:weir_every_loop>)
  target_link_libraries(${name}_adapter_test PRIVATE ${ARGN})
  weir_example(${name})
  target_link_libraries(example_${name} PRIVATE ${ARGN})
endfunction()

weir_adapter(epoll)
weir_adapter(libev ${WEIR_LIBEV})
weir_adapter(libuv PkgConfig::libuv)
weir_adapter(libevent PkgConfig::libevent)
weir_adapter(glib PkgConfig::glib)
weir_adapter(asio)
# Debian 12's Asio does not know that clang++ has coroutines.
foreach(target asio_adapter_test example_asio)
  target_compile_definitions(${target} PRIVATE
    $<$<CXX_COMPILER_ID:Clang>:ASIO_HAS_CO_AWAIT ASIO_HAS_STD_COROUTINE>)
endforeach()
weir_adapter(boost_asio Boost::headers)
