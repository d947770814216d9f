# Finds LibTorch, whose targets every directory then sees, and sets
#   STEPSIZE_CXX_STANDARD   the lowest C++ standard that both stepsize (17) and
#                           the LibTorch found can be compiled with; for a newer
#                           one set CMAKE_CXX_STANDARD
#   stepsize_torch_version  the version of the LibTorch found, where known

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
  find_package(Torch REQUIRED GLOBAL)
  unset(kineto_LIBRARY)
  set(CMAKE_CXX_FLAGS "${stepsize_flags_before}")
  unset(stepsize_flags_before)
  message(STATUS "stepsize: LibTorch ${Torch_VERSION} (${Torch_DIR})")
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
