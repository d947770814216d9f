# stepsize_precompile_headers(<target> [TEST]): the target, a program that
# includes <torch/torch.h>, takes that header from where it was read once for all
# of its kind, which is most of what a small one costs. GCC's precompiled header
# fits whatever else is defined on the command line; that of other compilers does
# not. It is for one level of optimization, so there are two kinds; nor does one
# serve executables and libraries where all code is position independent.
#
# Programs are optimized a little. Nothing is gained by more, and LibTorch's
# headers, inlined into them, make newer compilers warn of what cannot happen.
# Tests are not optimized at all: what they test is, and it takes a third off the
# time to compile them. Nor is undefined behaviour watched in what is compiled for
# them, inline functions of ours among it, which would double it: in the library's
# own sources it is.
set(stepsize_program_options)
set(stepsize_test_options)
if(CMAKE_BUILD_TYPE MATCHES "^(Release|RelWithDebInfo)$" AND CMAKE_CXX_COMPILER_ID
                                                            MATCHES "GNU|Clang")
  set(stepsize_program_options -O1)
  set(stepsize_test_options -O0)
  if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=[a-z,-]*undefined")
    list(APPEND stepsize_test_options -fno-sanitize=undefined)
  endif()
endif()

function(stepsize_precompile_headers target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "TEST" "" "")
  set(kind program)
  if(arg_TEST)
    set(kind test)
  endif()
  target_compile_options(${target} PRIVATE ${stepsize_${kind}_options})
  if(NOT STEPSIZE_PRECOMPILE_HEADERS
     OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU"
     OR CMAKE_POSITION_INDEPENDENT_CODE)
    return()
  endif()
  set(header stepsize_torch_header_of_${kind}s)
  if(NOT TARGET ${header})
    set(empty "${PROJECT_BINARY_DIR}/${header}.cpp")
    file(CONFIGURE OUTPUT "${empty}" CONTENT "// Nothing but the header.\n")
    add_library(${header} OBJECT "${empty}")
    stepsize_set_warnings(${header})
    target_link_libraries(${header} PRIVATE stepsize::stepsize)
    target_compile_options(${header} PRIVATE ${stepsize_${kind}_options})
    target_precompile_headers(${header} PRIVATE <torch/torch.h>)
  endif()
  # With GNU's extensions it would not be taken.
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  target_precompile_headers(${target} REUSE_FROM ${header})
endfunction()
