# cmake -DGIT=<git> -DSOURCE=<project> -DREPOSITORY=<folder> -DFETCHED=<folder>
#   -P repository.cmake
# Makes a git repository of the library's sources as they are, and writes
# REPOSITORY.cmake: what the README says of FetchContent, with that repository.
# What was fetched of an earlier one, whose history is another, is thrown away.
file(REMOVE_RECURSE "${REPOSITORY}" "${FETCHED}/stepsize-src"
     "${FETCHED}/stepsize-subbuild")
foreach(part IN ITEMS CMakeLists.txt LICENSE cmake csrc include)
  file(COPY "${SOURCE}/${part}" DESTINATION "${REPOSITORY}")
endforeach()
foreach(
  step IN
  ITEMS "init;--quiet"
        "checkout;--quiet;-b;main"
        "add;."
        "-c;user.name=test;-c;user.email=test@example.com;commit;--quiet;-m;All"
)
  execute_process(
    COMMAND "${GIT}" ${step}
    WORKING_DIRECTORY "${REPOSITORY}"
    COMMAND_ERROR_IS_FATAL ANY)
endforeach()

file(READ "${SOURCE}/README.md" text)
string(REGEX MATCH
             "include\\(FetchContent\\).*FetchContent_MakeAvailable\\(stepsize\\)"
             lines "${text}")
set(address "https://example.com/stepsize.git")
string(FIND "${lines}" "${address}" at)
if(at EQUAL -1)
  message(FATAL_ERROR "the README does not fetch from ${address}")
endif()
string(REPLACE "${address}" "file://${REPOSITORY}" lines "${lines}")
file(WRITE "${REPOSITORY}.cmake" "${lines}\n")
