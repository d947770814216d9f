# stepsize_set_warnings(<target>...): the project's warnings, for the project's
# own targets only; a user's targets never see them.
function(stepsize_set_warnings)
  foreach(target IN LISTS ARGN)
    if(MSVC)
      target_compile_options(${target} PRIVATE /W4)
    else()
      target_compile_options(
        ${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow)
      # LibTorch's own macros are called without their last arguments.
      if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
        target_compile_options(
          ${target} PRIVATE -Wno-gnu-zero-variadic-macro-arguments)
      endif()
    endif()
    set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
    if(STEPSIZE_WARNINGS_AS_ERRORS)
      set_target_properties(${target} PROPERTIES COMPILE_WARNING_AS_ERROR ON)
    endif()
  endforeach()
endfunction()
