# weir_bench(name source…): one benchmark program, in bench/ of the build directory.
function(weir_bench name)
  add_executable(${name} ${ARGN})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bench")
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/bench")
  target_link_libraries(${name} PRIVATE weir::weir_static uring)
  weir_warnings(${name})
endfunction()
