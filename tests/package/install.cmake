# cmake -DBUILD=<build folder> -DPREFIX=<folder> -DCONFIG=<type> -P install.cmake
# Installs into an empty folder, so that nothing of an earlier run is found.
file(REMOVE_RECURSE "${PREFIX}")
execute_process(
  COMMAND "${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${PREFIX}"
          --config "${CONFIG}"
  COMMAND_ERROR_IS_FATAL ANY)
