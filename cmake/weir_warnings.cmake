# weir_warnings(target): the warnings that weir's own sources are kept free of, with both compilers.
# Private to the target, so nothing reaches a program that uses weir.
function(weir_warnings target)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
    -Wold-style-cast -Wundef -Woverloaded-virtual -Wextra-semi -Wcast-align -Wformat=2
    -Wimplicit-fallthrough -Wvla
    # Options and requests are written with designated initializers: what is not named keeps its
    # default.
    -Wno-missing-field-initializers
    $<$<CXX_COMPILER_ID:GNU>:-Wduplicated-cond -Wlogical-op>
    $<$<CXX_COMPILER_ID:Clang>:-Wreserved-identifier -Wreserved-macro-identifier>
    # False alarms in std::string's own code with g++ 12 (GCC bug 105651).
    $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
  if(WEIR_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()

# weir_quickly_compiled(target): what is not the library need not be quick where it is not measured, as
# under a sanitizer; there, its compilation is what takes time.
function(weir_quickly_compiled target)
  target_compile_options(${target} PRIVATE ${WEIR_QUICK_OPTIONS})
endfunction()
