# cmake -DPKG_CONFIG=<program> -DPREFIX=<installed tree> -DLIBDIR=<its lib>
# -DVERSION=<version> -DCOMPILER=<c++> "-DFLAGS=<its options>" -DSOURCE=<a .cpp>
# -DPROGRAM=<path> -P pkg_config.cmake
# Compiles the source with what pkg-config says, without CMake's targets, and
# runs it. The tree was installed elsewhere than it was configured for.
cmake_minimum_required(VERSION 3.22)
set(ENV{PKG_CONFIG_PATH} "${PREFIX}/${LIBDIR}/pkgconfig")
function(ask result)
  execute_process(
    COMMAND "${PKG_CONFIG}" ${ARGN} stepsize
    OUTPUT_VARIABLE output
    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(output UNIX_COMMAND "${output}")
  set(${result} ${output} PARENT_SCOPE)
endfunction()

ask(version --modversion)
if(NOT version STREQUAL VERSION)
  message(FATAL_ERROR "stepsize.pc is of version ${version}, not ${VERSION}")
endif()
ask(all_libraries --static --libs)
if(NOT "-lz" IN_LIST all_libraries)
  message(FATAL_ERROR "a static program lacks zlib: ${all_libraries}")
endif()
# LibTorch may be named.
ask(elsewhere --define-variable=torch_prefix=/elsewhere --cflags)
if(NOT "-I/elsewhere/include/torch/csrc/api/include" IN_LIST elsewhere)
  message(FATAL_ERROR "torch_prefix is not taken: ${elsewhere}")
endif()
ask(elsewhere --define-variable=torch_prefix=/elsewhere --libs)
list(FIND elsewhere "-L/elsewhere/lib" folder)
list(FIND elsewhere "-ltorch" library)
if(folder EQUAL -1 OR folder GREATER library)
  message(FATAL_ERROR "torch_prefix is not linked: ${elsewhere}")
endif()
if(NOT "-Wl,-rpath,/elsewhere/lib" IN_LIST elsewhere)
  message(FATAL_ERROR "torch_prefix is not loaded: ${elsewhere}")
endif()

ask(standard --variable=cxx_standard)
ask(compile --cflags)
ask(link --libs)
separate_arguments(flags UNIX_COMMAND "${FLAGS}")
execute_process(
  COMMAND ${COMPILER} ${flags} -std=c++${standard} ${compile} "${SOURCE}" -o
          "${PROGRAM}" ${link}
          COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
set(ENV{LD_LIBRARY_PATH} "${PREFIX}/${LIBDIR}:$ENV{LD_LIBRARY_PATH}")
execute_process(COMMAND "${PROGRAM}" COMMAND_ERROR_IS_FATAL ANY)
