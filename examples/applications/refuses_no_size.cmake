# PROGRAM must end with 2, and say why, for each first argument that is no size.
foreach(argument IN ITEMS 400k -1 0 99999999999999999999)
  execute_process(
    COMMAND "${PROGRAM}" "${argument}"
    RESULT_VARIABLE result
    ERROR_VARIABLE error
    OUTPUT_QUIET)
  set(wanted "must be a number of [0-9]+ or more, not '${argument}'")
  if(NOT result STREQUAL "2" OR NOT error MATCHES "${wanted}")
    message(FATAL_ERROR "${PROGRAM} ${argument}: ended with ${result}, and said "
                        "'${error}'")
  endif()
endforeach()
