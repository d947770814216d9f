# Finds LibTorch, whose targets every directory then sees, and sets
#   STEPSIZE_CXX_STANDARD   the lowest C++ standard that both stepsize (17) and
#                           the LibTorch found can be compiled with; for a newer
#                           one set CMAKE_CXX_STANDARD
#   stepsize_torch_version  the version of the LibTorch found, where known, as
#                           it calls itself
#   stepsize_torch_release  the same as its package has it, for people

# At file scope, since a LibTorch with CUDA enables that language, which CMake
# does not allow in a function. A project that includes this one may have found
# LibTorch itself.
if(NOT TARGET torch)
  # LibTorch's configuration adds to the compiler flags of all that follows, and
  # says the same on its targets.
  set(stepsize_flags_before "${CMAKE_CXX_FLAGS}")
  # It also warns when it finds no libkineto, though a shared LibTorch already
  # contains it. The name only reaches TORCH_LIBRARIES, which is not used: the
  # target torch carries all that there is to link.
  set(kineto_LIBRARY torch)
  stepsize_find_global(Torch)
  unset(kineto_LIBRARY)
  set(CMAKE_CXX_FLAGS "${stepsize_flags_before}")
  unset(stepsize_flags_before)
  # Debian's 1.13.1 calls itself 1.13.0, in its headers too: ask the package.
  set(stepsize_torch_release "${Torch_VERSION}")
  set(stepsize_torch_text "${Torch_VERSION}")
  find_program(STEPSIZE_DPKG_QUERY dpkg-query)
  mark_as_advanced(STEPSIZE_DPKG_QUERY)
  if(STEPSIZE_DPKG_QUERY AND Torch_DIR MATCHES "^/usr/lib/")
    execute_process(
      COMMAND "${STEPSIZE_DPKG_QUERY}" -W -f "\${Version}" libtorch-dev
      OUTPUT_VARIABLE stepsize_package_version
      ERROR_QUIET)
    if(stepsize_package_version MATCHES "^([0-9]+:)?([0-9]+\\.[0-9]+\\.[0-9]+)"
       AND NOT Torch_VERSION VERSION_EQUAL CMAKE_MATCH_2)
      set(stepsize_torch_release "${CMAKE_MATCH_2}")
      set(stepsize_torch_text
          "${stepsize_torch_release}, which calls itself ${Torch_VERSION}")
    endif()
    unset(stepsize_package_version)
  endif()
  message(STATUS "stepsize: LibTorch ${stepsize_torch_text} (${Torch_DIR})")
  unset(stepsize_torch_text)
endif()
set(stepsize_torch_version "${Torch_VERSION}")

# LibTorch says on its target which standard its headers need: 14 in 1.13, 17 in
# 2.6, 20 in 2.14, whose headers stop with an #error below that.
set(STEPSIZE_CXX_STANDARD 17)
get_target_property(stepsize_torch_standard torch CXX_STANDARD)
if(stepsize_torch_standard GREATER STEPSIZE_CXX_STANDARD)
  set(STEPSIZE_CXX_STANDARD ${stepsize_torch_standard})
endif()
unset(stepsize_torch_standard)
