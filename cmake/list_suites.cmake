# cmake -DBINARY=<test binary> -DPREFIX=<text> -DLIST=<file> -P list_suites.cmake
# Writes LIST, a file for ctest with one test a suite that BINARY has. With
# -DAPART=<regex> only the suites that match it have one each, and all others one
# together, "<PREFIX>others".
execute_process(
  COMMAND "${BINARY}" --gtest_list_tests
  OUTPUT_VARIABLE output
  COMMAND_ERROR_IS_FATAL ANY)

# A suite's name starts its line and ends in a dot; its cases are indented.
string(REGEX MATCHALL "(^|\n)[^ \n]+\\." suites "${output}")
if(NOT suites)
  message(FATAL_ERROR "${BINARY} has no test suite")
endif()
set(text "")
function(add_entry name filter)
  string(
    APPEND
    text
    "add_test([==[${PREFIX}${name}]==] [==[${BINARY}]==] "
    "[==[--gtest_filter=${filter}]==] --gtest_brief=1)\n"
    "set_tests_properties([==[${PREFIX}${name}]==] PROPERTIES TIMEOUT 900)\n")
  set(text "${text}" PARENT_SCOPE)
endfunction()
set(apart "")
foreach(suite IN LISTS suites)
  string(REGEX REPLACE "^\n|\\.$" "" suite "${suite}")
  if(NOT APART OR suite MATCHES "${APART}")
    add_entry("${suite}" "${suite}.*")
    string(APPEND apart ":${suite}.*")
  endif()
endforeach()
if(APART)
  string(REGEX REPLACE "^:" "" apart "${apart}")
  add_entry(others "-${apart}")
endif()
file(WRITE "${LIST}" "${text}")
