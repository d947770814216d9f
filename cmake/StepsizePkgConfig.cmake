# stepsize.pc, for `pkg-config --cflags --libs stepsize`. It finds itself
# wherever the installed tree is moved to.
set(pc_folder "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig")
foreach(folder IN ITEMS LIBDIR INCLUDEDIR)
  string(TOLOWER ${folder} name)
  set(stepsize_pc_${name} "${CMAKE_INSTALL_${folder}}")
  if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_${folder}}")
    set(stepsize_pc_${name} "\${prefix}/${CMAKE_INSTALL_${folder}}")
  endif()
endforeach()
set(stepsize_pc_prefix "${CMAKE_INSTALL_PREFIX}")
if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  file(RELATIVE_PATH up "${pc_folder}" "${CMAKE_INSTALL_PREFIX}")
  string(REGEX REPLACE "/$" "" up "${up}")
  set(stepsize_pc_prefix "\${pcfiledir}/${up}")
endif()

# LibTorch says what it needs on its targets, which only CMake can ask: compiler
# options (the ABI), definitions, and headers below <prefix>/include.
function(stepsize_torch_property result property)
  set(values)
  foreach(target IN ITEMS torch torch_cpu)
    if(TARGET ${target})
      get_target_property(value ${target} ${property})
      if(value)
        list(APPEND values ${value})
      endif()
    endif()
  endforeach()
  # What depends on the consumer is said by generator expressions.
  list(FILTER values EXCLUDE REGEX "\\$<")
  list(REMOVE_DUPLICATES values)
  set(${result} "${values}" PARENT_SCOPE)
endfunction()
stepsize_torch_property(flags INTERFACE_COMPILE_OPTIONS)
stepsize_torch_property(definitions INTERFACE_COMPILE_DEFINITIONS)
stepsize_torch_property(includes INTERFACE_INCLUDE_DIRECTORIES)
list(TRANSFORM definitions PREPEND "-D")
set(stepsize_pc_torch_prefix)
foreach(folder IN LISTS includes)
  get_filename_component(folder "${folder}" ABSOLUTE)
  if(folder MATCHES "^(.*)/include$" AND EXISTS "${folder}/torch")
    set(stepsize_pc_torch_prefix "${CMAKE_MATCH_1}")
    break()
  endif()
endforeach()
find_library(
  STEPSIZE_TORCH_LIBRARY torch HINTS "${stepsize_pc_torch_prefix}/lib")
mark_as_advanced(STEPSIZE_TORCH_LIBRARY)
get_filename_component(torch_libdir "${STEPSIZE_TORCH_LIBRARY}" DIRECTORY)
set(stepsize_pc_torch_libdir "${torch_libdir}")
string(FIND "${torch_libdir}/" "${stepsize_pc_torch_prefix}/" found)
if(found EQUAL 0)
  string(LENGTH "${stepsize_pc_torch_prefix}" length)
  string(SUBSTRING "${torch_libdir}" ${length} -1 below)
  set(stepsize_pc_torch_libdir "\${torch_prefix}${below}")
endif()

list(JOIN flags " " flags)
list(JOIN definitions " " definitions)
# pkg-config leaves out the folders that compilers and linkers look in anyway.
string(
  STRIP
    "-I\${torch_includedir} -I\${torch_includedir}/torch/csrc/api/include ${flags} ${definitions}"
    stepsize_pc_cflags)

# A LibTorch that torch_prefix names has its libraries in lib, whatever folder
# this one has them in, and programs must load the one that they were linked
# with: lib comes first, and is searched at run time too.
set(stepsize_pc_torch_folders
    "-L\${torch_prefix}/lib -Wl,-rpath,\${torch_prefix}/lib")
if(NOT stepsize_pc_torch_libdir STREQUAL "\${torch_prefix}/lib")
  string(APPEND stepsize_pc_torch_folders " -L\${torch_libdir}")
  if(NOT torch_libdir IN_LIST CMAKE_CXX_IMPLICIT_LINK_DIRECTORIES)
    string(APPEND stepsize_pc_torch_folders " -Wl,-rpath,\${torch_libdir}")
  endif()
endif()

# LibTorch's kernels register themselves where they are loaded, also in programs
# that name none of them.
set(stepsize_pc_libs
    "-L\${libdir} -lstepsize ${stepsize_pc_torch_folders}"
    "-Wl,--push-state,--no-as-needed -ltorch -Wl,--pop-state -ltorch_cpu -lc10")
list(JOIN stepsize_pc_libs " " stepsize_pc_libs)
set(stepsize_pc_private_libs -lz)
get_target_property(type stepsize TYPE)
if(type STREQUAL "STATIC_LIBRARY")
  string(APPEND stepsize_pc_libs " -lz")
  set(stepsize_pc_private_libs)
endif()
configure_file("${CMAKE_CURRENT_LIST_DIR}/stepsize.pc.in"
               "${PROJECT_BINARY_DIR}/stepsize.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/stepsize.pc"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
        COMPONENT development)
