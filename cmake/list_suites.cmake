# cmake -DBINARY=<test binary> -DPREFIX=<text> -DLIST=<file> -P list_suites.cmake
# Writes LIST, a file for ctest with one test a suite that BINARY has.
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
foreach(suite IN LISTS suites)
  string(REGEX REPLACE "^\n|\\.$" "" suite "${suite}")
  string(
    APPEND
    text
    "add_test([==[${PREFIX}${suite}]==] [==[${BINARY}]==] "
    "[==[--gtest_filter=${suite}.*]==] --gtest_brief=1)\n"
    "set_tests_properties([==[${PREFIX}${suite}]==] PROPERTIES TIMEOUT 900)\n")
endforeach()
file(WRITE "${LIST}" "${text}")
