# stepsize_find_global(<package>): find_package(<package> REQUIRED GLOBAL), which
# CMake has from 3.24 on: a project that includes this one links the targets too.
# A macro, since what the package sets is wanted.
macro(stepsize_find_global package)
  if(CMAKE_VERSION VERSION_LESS 3.24)
    get_directory_property(stepsize_before IMPORTED_TARGETS)
    find_package(${package} REQUIRED)
    get_directory_property(stepsize_found IMPORTED_TARGETS)
    list(REMOVE_ITEM stepsize_found "" ${stepsize_before})
    foreach(stepsize_target IN LISTS stepsize_found)
      set_target_properties(${stepsize_target} PROPERTIES IMPORTED_GLOBAL ON)
    endforeach()
    unset(stepsize_before)
    unset(stepsize_found)
    unset(stepsize_target)
  else()
    find_package(${package} REQUIRED GLOBAL)
  endif()
endmacro()
