# stepsize_add_programs(<name> SOURCES <file>... [LIBRARIES <library>...]
# [TARGET_PREFIX <prefix>] [OUTPUT_DIRECTORY <folder>]): a program for each
# file, which has a main function. It is called after the file and lies in the
# folder, by default where executables go. The target <prefix><file> builds it;
# its property STEPSIZE_PROGRAM is the path.
#
# LibTorch's headers take nearly all of the time. With STEPSIZE_UNITY_BUILD they
# are read once for all files: these are one executable, <name>, each in a
# namespace of its own. Each program is a link to it, and the name that it is
# called by says which main function runs. So a file has every #include at the
# start of a line, under no condition, and its main function returns something.
function(stepsize_add_programs name)
  cmake_parse_arguments(
    PARSE_ARGV 1 arg "" "TARGET_PREFIX;OUTPUT_DIRECTORY" "SOURCES;LIBRARIES")
  if(NOT arg_OUTPUT_DIRECTORY)
    set(arg_OUTPUT_DIRECTORY "${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  endif()
  if(NOT arg_OUTPUT_DIRECTORY)
    set(arg_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}")
  endif()

  if(NOT STEPSIZE_UNITY_BUILD)
    foreach(source IN LISTS arg_SOURCES)
      cmake_path(GET source STEM program)
      set(target ${arg_TARGET_PREFIX}${program})
      add_executable(${target} ${source})
      stepsize_set_up_program(${target} ${arg_LIBRARIES})
      set_target_properties(
        ${target}
        PROPERTIES OUTPUT_NAME ${program}
                   RUNTIME_OUTPUT_DIRECTORY "${arg_OUTPUT_DIRECTORY}"
                   STEPSIZE_PROGRAM "$<TARGET_FILE:${target}>")
    endforeach()
    return()
  endif()

  set(includes "#include <cstdio>" "#include <filesystem>" "#include <string>")
  set(bodies)
  set(calls)
  set(links)
  foreach(source IN LISTS arg_SOURCES)
    cmake_path(ABSOLUTE_PATH source)
    cmake_path(GET source PARENT_PATH folder)
    cmake_path(GET source STEM program)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${source}")
    file(STRINGS "${source}" lines REGEX "^#include [<\"]")
    # The file that is made from these lies elsewhere.
    list(TRANSFORM lines REPLACE "^#include \"" "#include \"${folder}/")
    list(APPEND includes ${lines})
    string(APPEND bodies "
namespace program_${program} {
#include \"${source}\"
}  // namespace program_${program}
")
    string(APPEND calls "  if (name == \"${program}\") {
    return program_${program}::main(argc, argv);
  }
")
    list(APPEND links "${arg_OUTPUT_DIRECTORY}/${program}")
  endforeach()
  list(REMOVE_DUPLICATES includes)
  list(JOIN includes "\n" includes)
  set(all "${CMAKE_CURRENT_BINARY_DIR}/${name}_programs.cpp")
  file(
    CONFIGURE
    OUTPUT "${all}"
    CONTENT
      "${includes}
${bodies}
int main(int argc, char** argv) {
  const std::string name = std::filesystem::path(argv[0]).filename().string();
${calls}  std::fprintf(stderr, \"${name} has no program %s\\n\", name.c_str());
  return 2;
}
"
    @ONLY)
  add_executable(${name} "${all}")
  stepsize_set_up_program(${name} ${arg_LIBRARIES})
  foreach(link IN LISTS links)
    add_custom_command(
      TARGET ${name}
      POST_BUILD
      BYPRODUCTS "${link}"
      COMMAND "${CMAKE_COMMAND}" -E create_symlink "$<TARGET_FILE:${name}>"
              "${link}"
      VERBATIM)
    cmake_path(GET link FILENAME program)
    set(target ${arg_TARGET_PREFIX}${program})
    add_custom_target(${target})
    add_dependencies(${target} ${name})
    set_target_properties(${target} PROPERTIES STEPSIZE_PROGRAM "${link}")
  endforeach()
endfunction()

function(stepsize_set_up_program target)
  stepsize_set_warnings(${target})
  target_link_libraries(${target} PRIVATE ${ARGN})
  stepsize_precompile_headers(${target})
endfunction()
