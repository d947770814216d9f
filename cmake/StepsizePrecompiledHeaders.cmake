# stepsize_precompile_headers(<target>): the target, tests that include
# <torch/torch.h>, takes that header from where it was read once for all of them,
# which halves what it costs. GCC's precompiled header fits whatever else is
# defined on the command line; that of other compilers does not. It is for one
# level of optimization: such targets are compiled with stepsize_program_options.
# Nothing is gained by optimizing them further, and LibTorch's headers, inlined
# into them, make newer compilers warn of what cannot happen.
set(stepsize_program_options)
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  set(stepsize_program_options -O1)
endif()

function(stepsize_precompile_headers target)
  target_compile_options(${target} PRIVATE ${stepsize_program_options})
  if(NOT STEPSIZE_PRECOMPILE_HEADERS OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    return()
  endif()
  if(NOT TARGET stepsize_torch_header)
    set(empty "${PROJECT_BINARY_DIR}/stepsize_torch_header.cpp")
    file(CONFIGURE OUTPUT "${empty}" CONTENT "// Nothing but the header.\n")
    add_library(stepsize_torch_header OBJECT "${empty}")
    stepsize_set_warnings(stepsize_torch_header)
    target_link_libraries(stepsize_torch_header PRIVATE stepsize::stepsize)
    target_compile_options(
      stepsize_torch_header PRIVATE ${stepsize_program_options})
    target_precompile_headers(stepsize_torch_header PRIVATE <torch/torch.h>)
  endif()
  # With GNU's extensions it would not be taken.
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  target_precompile_headers(${target} REUSE_FROM stepsize_torch_header)
endfunction()
