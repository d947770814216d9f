# Runs PROGRAM with WORKERS in FOLDER undisturbed, and again killed twice, once
# between two checkpoints in the midst of an epoch; the weights must be the same
# to the byte.
function(run expected)
  execute_process(
    COMMAND "${PROGRAM}" ${ARGN} --workers ${WORKERS}
    WORKING_DIRECTORY "${FOLDER}"
    RESULT_VARIABLE result
    OUTPUT_VARIABLE output
    ERROR_VARIABLE output)
  message("${output}")
  if(expected STREQUAL "killed")
    # A number of the system's, or a text that tells the signal.
    if(result EQUAL 0 OR result EQUAL 1)
      message(FATAL_ERROR "resume ${ARGN} was not killed: ${result}")
    endif()
  elseif(NOT result EQUAL 0)
    message(FATAL_ERROR "resume ${ARGN} ended with ${result}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

function(expect text)
  string(FIND "${output}" "${text}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "it does not say: ${text}")
  endif()
endfunction()

file(REMOVE_RECURSE "${FOLDER}")
file(MAKE_DIRECTORY "${FOLDER}")
run(whole whole)
# Of 32 batches an epoch: in the second one, and after a checkpoint with the last
# batch of the third, whose end it has not yet been told.
run(killed killed --die-at 45)
run(killed killed --die-at 99)
expect("update 40: going on in epoch 1, after 8 batches")
run(whole killed)
expect("update 96: going on in epoch 2, after 32 batches")
execute_process(
  COMMAND "${CMAKE_COMMAND}" -E compare_files "${FOLDER}/whole/weights"
          "${FOLDER}/killed/weights"
  RESULT_VARIABLE differs)
if(differs)
  message(FATAL_ERROR "the weights differ")
endif()
file(READ "${FOLDER}/whole/weights" weights HEX)
string(LENGTH "${weights}" length)
if(length LESS 1000)
  message(FATAL_ERROR "there are no weights: ${length} digits")
endif()
