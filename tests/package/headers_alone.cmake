# The target headers_alone compiles each public header with nothing of ours
# before it, so that none leaves an include to its user.
#
# LibTorch's headers take nearly all of the time. A header is given those of the
# heavy ones that it reaches by its includes, read once for all that reach the
# same. That hides no include that is missing: it has these anyway, and what it
# reaches them by is among the headers here.
set(heavy_headers ATen/core/Tensor.h torch/optim/optimizer.h
                  torch/serialize/archive.h)
file(GLOB_RECURSE headers RELATIVE "${PROJECT_SOURCE_DIR}/include"
     CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/include/*.h")

# find_heavy_headers(<header> <variable>): which of them it reaches, each once.
function(find_heavy_headers header variable)
  get_property(is_known GLOBAL PROPERTY "heavy_headers_of_${header}" SET)
  if(NOT is_known)
    set(found)
    file(STRINGS "${PROJECT_SOURCE_DIR}/include/${header}" includes
         REGEX "^#include <")
    foreach(include IN LISTS includes)
      string(REGEX REPLACE "^#include <(.*)>.*" "\\1" include "${include}")
      if(include IN_LIST heavy_headers)
        list(APPEND found "${include}")
      elseif(include MATCHES "^stepsize/")
        find_heavy_headers("${include}" more)
        list(APPEND found ${more})
      endif()
    endforeach()
    list(REMOVE_DUPLICATES found)
    list(SORT found)
    # The other two bring tensors.
    if(found MATCHES "torch/")
      list(REMOVE_ITEM found ATen/core/Tensor.h)
    endif()
    set_property(GLOBAL PROPERTY "heavy_headers_of_${header}" "${found}")
  endif()
  get_property(found GLOBAL PROPERTY "heavy_headers_of_${header}")
  set(${variable} "${found}" PARENT_SCOPE)
endfunction()

set(kinds)
foreach(header IN LISTS headers)
  find_heavy_headers("${header}" heavy)
  string(MAKE_C_IDENTIFIER "with ${heavy}" kind)
  list(APPEND kinds "${kind}")
  set(heavy_${kind} "${heavy}")
  # What it includes may change.
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
                                         "${PROJECT_SOURCE_DIR}/include/${header}")
  string(REPLACE / _ name "${header}")
  set(source "${CMAKE_CURRENT_BINARY_DIR}/headers_alone/${name}.cpp")
  file(CONFIGURE OUTPUT "${source}" CONTENT "#include <${header}>\n")
  list(APPEND sources_${kind} "${source}")
endforeach()
list(REMOVE_DUPLICATES kinds)

add_custom_target(headers_alone)
foreach(kind IN LISTS kinds)
  set(target headers_alone_${kind})
  add_library(${target} OBJECT EXCLUDE_FROM_ALL ${sources_${kind}})
  stepsize_set_warnings(${target})
  target_compile_options(${target} PRIVATE ${stepsize_test_options})
  target_link_libraries(${target} PRIVATE stepsize::stepsize)
  set_target_properties(${target} PROPERTIES UNITY_BUILD OFF)
  add_dependencies(headers_alone ${target})
  if(STEPSIZE_PRECOMPILE_HEADERS AND heavy_${kind})
    list(TRANSFORM heavy_${kind} REPLACE "(.+)" "<\\1>")
    target_precompile_headers(${target} PRIVATE ${heavy_${kind}})
  endif()
endforeach()
