# weir_example(name argument…): examples/<name>.cc, compiled and run like a test, so that it stays
# true. It is given a file to read, then the arguments.
function(weir_example name)
  add_executable(example_${name} examples/${name}.cc)
  target_link_libraries(example_${name} PRIVATE weir::weir_static)
  weir_warnings(example_${name})
  weir_quickly_compiled(example_${name})
  set_target_properties(example_${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/examples")
  add_test(NAME example_${name} COMMAND example_${name} "${PROJECT_SOURCE_DIR}/CMakeLists.txt" ${ARGN})
endfunction()
