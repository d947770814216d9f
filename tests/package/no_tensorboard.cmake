# cmake -DTEMPLATE=<stepsizeConfig.cmake.in> -DPREFIX=<folder> -P
# no_tensorboard.cmake
# Debian's packages leave the component tensorboard out, of a stepsize that was
# built with it.
cmake_minimum_required(VERSION 3.22)
file(REMOVE_RECURSE "${PREFIX}")
set(PACKAGE_INIT)
set(stepsize_HAS_TENSORBOARD TRUE)
set(stepsize_library_type SHARED_LIBRARY)
configure_file("${TEMPLATE}" "${PREFIX}/stepsizeConfig.cmake" @ONLY)

find_package(stepsize QUIET COMPONENTS tensorboard PATHS "${PREFIX}"
             NO_DEFAULT_PATH)
if(stepsize_FOUND)
  message(FATAL_ERROR "the component tensorboard is found, but is not there")
endif()
if(NOT stepsize_NOT_FOUND_MESSAGE MATCHES "without the component tensorboard")
  message(FATAL_ERROR "no reason is given: ${stepsize_NOT_FOUND_MESSAGE}")
endif()

file(WRITE "${PREFIX}/stepsizeTensorboardTargets.cmake" "")
find_package(stepsize QUIET COMPONENTS tensorboard PATHS "${PREFIX}"
             NO_DEFAULT_PATH)
if(NOT stepsize_FOUND)
  message(FATAL_ERROR "not found: ${stepsize_NOT_FOUND_MESSAGE}")
endif()
