# stepsize_discover_suites(<target> <prefix> [<regex>]): one ctest test a
# GoogleTest suite; with a regular expression one for each suite that matches it,
# and one for all others together.
#
# gtest_discover_tests starts the binary once a case. To load LibTorch takes half
# a second, so a room that links it is run suite by suite instead.
set(STEPSIZE_LIST_SUITES "${CMAKE_CURRENT_LIST_DIR}/list_suites.cmake")

function(stepsize_discover_suites target prefix)
  set(list "${CMAKE_CURRENT_BINARY_DIR}/${target}_suites.cmake")
  add_custom_command(
    TARGET ${target}
    POST_BUILD
    BYPRODUCTS "${list}"
    COMMAND
      "${CMAKE_COMMAND}" "-DBINARY=$<TARGET_FILE:${target}>" "-DPREFIX=${prefix}"
      "-DLIST=${list}" "-DAPART=${ARGN}" -P "${STEPSIZE_LIST_SUITES}"
    VERBATIM)
  # Until the binary is built ctest has one test to say so, which fails.
  set(entry "${CMAKE_CURRENT_BINARY_DIR}/${target}_entry.cmake")
  file(
    WRITE "${entry}"
    "if(EXISTS \"${list}\")\n  include(\"${list}\")\nelse()\n"
    "  add_test(${prefix}not_built \"${target}_is_not_built\")\nendif()\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${entry}")
endfunction()
