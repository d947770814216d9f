# cmake -DNM=<nm> "-DOBJECTS=<object>;..." -P check_objects.cmake
# Fails if an object compiled for a newer CPU defines a function or a constant
# that the linker may merge with others of its name: an older CPU might get it.
foreach(object IN LISTS OBJECTS)
  if(NOT object MATCHES "/loops_avx[0-9]+\\.cpp\\.o(bj)?$")
    continue()
  endif()
  list(APPEND checked "${object}")
  execute_process(
    COMMAND "${NM}" --defined-only --extern-only --demangle "${object}"
    OUTPUT_VARIABLE symbols
    COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]* [VWuvw] [^\n]*" shared "${symbols}")
  if(shared)
    message(SEND_ERROR "${object} shares with other objects:\n${shared}")
  endif()
  if(NOT symbols MATCHES "stepsize::detail::avx[0-9]+_loops")
    message(SEND_ERROR "${object} does not define its loops:\n${symbols}")
  endif()
endforeach()
if(NOT checked)
  message(FATAL_ERROR "no objects of the loops in: ${OBJECTS}")
endif()
