# cpack -G DEB: two packages, libstepsize0.1 for programs that are built already
# and libstepsize-dev to build some; of a static library the latter alone.
# Configure with -DCMAKE_INSTALL_PREFIX=/usr, which gives Debian's folders.
# scripts/check_deb.sh makes them, and tries them in a chroot.
set(CPACK_PACKAGE_NAME stepsize)
set(CPACK_PACKAGE_VENDOR "The stepsize authors")
set(CPACK_PACKAGE_CONTACT "The stepsize authors <stepsize@users.invalid>")
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "step-size library for LibTorch")
set(CPACK_PACKAGE_DIRECTORY "${PROJECT_BINARY_DIR}/packages")
set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
set(CPACK_STRIP_FILES ON)
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_GROUPING IGNORE)
get_target_property(type stepsize TYPE)
set(CPACK_COMPONENTS_ALL development)
if(type STREQUAL "SHARED_LIBRARY")
  list(PREPEND CPACK_COMPONENTS_ALL runtime)
endif()

set(description
    "stepsize schedules the learning rate, adapts it to the curvature of the loss,
finds it, and scales it with the batch: schedules as values and as text,
Python's schedulers with their timeline, optimizers that clip, take steps back
or need no rate, a range test, and checkpoints of a whole run.
")
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
# Other packages that link the library depend on this version or a later one.
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")

set(so_version "${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME libstepsize${so_version})
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
# The linker's cache is brought up to date when the library comes or goes: by
# this trigger, and by the scripts that CPack adds unasked.
file(WRITE "${PROJECT_BINARY_DIR}/debian/triggers"
     "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA
    "${PROJECT_BINARY_DIR}/debian/triggers")
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION
    "${description}\nThis package has the shared library.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libstepsize-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION
    "${description}\nThis package has what programs are built with.")
set(depends zlib1g-dev)
if(type STREQUAL "SHARED_LIBRARY")
  set(depends "libstepsize${so_version} (= ${PROJECT_VERSION})")
endif()
# Only the LibTorch that it was built with is taken by its package config.
if(Torch_DIR MATCHES "^/usr/lib/" AND stepsize_torch_release)
  string(REGEX MATCH "^([0-9]+\\.[0-9]+\\.)([0-9]+)" release
               "${stepsize_torch_release}")
  math(EXPR next "${CMAKE_MATCH_2} + 1")
  string(APPEND depends ", libtorch-dev (>= ${release})"
         ", libtorch-dev (<< ${CMAKE_MATCH_1}${next}~)")
endif()
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${depends}")

# What Debian wants of each package, in the place of the installed LICENSE.
find_program(STEPSIZE_GZIP gzip)
mark_as_advanced(STEPSIZE_GZIP)
if(STEPSIZE_GZIP)
  file(READ "${PROJECT_SOURCE_DIR}/LICENSE" license)
  string(REGEX MATCH "Copyright[^\n]*" copyright "${license}")
  string(REGEX REPLACE "^Copyright \\(c\\) " "" copyright "${copyright}")
  string(REGEX REPLACE "\n\n" "\n.\n" license "${license}")
  string(REGEX REPLACE "\n+$" "" license "${license}")
  string(REGEX REPLACE "\n" "\n " license "${license}")
  string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
  set(folder "${PROJECT_BINARY_DIR}/debian")
  file(
    WRITE "${folder}/copyright"
    "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: stepsize

Files: *
Copyright: ${copyright}
License: BSD-3-Clause
 ${license}
")
  file(
    WRITE "${folder}/changelog"
    "stepsize (${PROJECT_VERSION}) unstable; urgency=medium

  * Built from the sources, whose CHANGELOG.md tells what is new.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
  execute_process(COMMAND "${STEPSIZE_GZIP}" -9nf "${folder}/changelog"
                  COMMAND_ERROR_IS_FATAL ANY)
  foreach(component IN LISTS CPACK_COMPONENTS_ALL)
    string(TOUPPER "${component}" name)
    install(
      FILES "${folder}/copyright" "${folder}/changelog.gz"
      DESTINATION
        "${CMAKE_INSTALL_DATAROOTDIR}/doc/${CPACK_DEBIAN_${name}_PACKAGE_NAME}"
      COMPONENT ${component}
      EXCLUDE_FROM_ALL)
  endforeach()
endif()

include(CPack)
