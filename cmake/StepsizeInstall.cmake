# The installed package: `find_package(stepsize)` gives stepsize::stepsize.
include(CMakePackageConfigHelpers)

set(stepsize_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/stepsize")

# The component `runtime` is what a program that is built already needs,
# `tensorboard` all of stepsize::tensorboard.
set(headers)
if(CMAKE_VERSION VERSION_LESS 3.23)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/stepsize"
          DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT development)
else()
  set(headers FILE_SET HEADERS COMPONENT development)
endif()
install(
  TARGETS stepsize
  EXPORT stepsizeTargets
  RUNTIME COMPONENT runtime
  LIBRARY COMPONENT runtime NAMELINK_COMPONENT development
  ARCHIVE COMPONENT development
  ${headers})
unset(headers)
install(
  EXPORT stepsizeTargets
  NAMESPACE stepsize::
  DESTINATION "${stepsize_package_dir}"
  COMPONENT development)
get_property(stepsize_HAS_TENSORBOARD GLOBAL PROPERTY stepsize_HAS_TENSORBOARD)
get_property(stepsize_HAS_RSVG GLOBAL PROPERTY stepsize_HAS_RSVG)
if(stepsize_HAS_TENSORBOARD)
  if(NOT CMAKE_VERSION VERSION_LESS 3.23)
    set(headers FILE_SET HEADERS COMPONENT tensorboard)
  endif()
  install(
    TARGETS stepsize_tensorboard
    EXPORT stepsizeTensorboardTargets
    RUNTIME COMPONENT tensorboard
    LIBRARY COMPONENT tensorboard
    ARCHIVE COMPONENT tensorboard
    ${headers})
  unset(headers)
  install(
    EXPORT stepsizeTensorboardTargets
    NAMESPACE stepsize::
    DESTINATION "${stepsize_package_dir}"
    COMPONENT tensorboard)
endif()
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE"
        DESTINATION "${CMAKE_INSTALL_DOCDIR}"
        COMPONENT licence)

foreach(part IN ITEMS C10D GLOO NCCL)
  get_property(stepsize_HAS_${part} GLOBAL PROPERTY stepsize_HAS_${part})
endforeach()
get_target_property(stepsize_library_type stepsize TYPE)
configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/stepsizeConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/stepsizeConfig.cmake"
  INSTALL_DESTINATION "${stepsize_package_dir}"
  NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/stepsizeConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/stepsizeConfig.cmake"
              "${PROJECT_BINARY_DIR}/stepsizeConfigVersion.cmake"
        DESTINATION "${stepsize_package_dir}"
        COMPONENT development)

include("${CMAKE_CURRENT_LIST_DIR}/StepsizePkgConfig.cmake")
