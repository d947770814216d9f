# cmake -DTORCH_DIR=<Debian's .../cmake/Torch> -DPREFIX=<folder>
#       -P unpacked_archive.cmake
# Lays out PREFIX as the archive of LibTorch on pytorch.org is when unpacked
# (include/, lib/, share/cmake/), by links to the files of Debian's package.
get_filename_component(cmake_dir "${TORCH_DIR}" DIRECTORY)
get_filename_component(library_dir "${cmake_dir}" DIRECTORY)
get_filename_component(architecture "${library_dir}" NAME)
get_filename_component(include_dir "${library_dir}/../../include" ABSOLUTE)

file(REMOVE_RECURSE "${PREFIX}")
file(MAKE_DIRECTORY "${PREFIX}/include" "${PREFIX}/lib" "${PREFIX}/share/cmake")
foreach(name IN ITEMS ATen c10 caffe2 torch)
  file(CREATE_LINK "${include_dir}/${name}" "${PREFIX}/include/${name}"
       SYMBOLIC)
endforeach()
file(GLOB libraries "${library_dir}/libtorch*.so*" "${library_dir}/libc10*.so*")
foreach(library IN LISTS libraries)
  get_filename_component(name "${library}" NAME)
  file(CREATE_LINK "${library}" "${PREFIX}/lib/${name}" SYMBOLIC)
endforeach()

# Debian's configuration has its own paths below lib/<architecture>.
file(COPY "${cmake_dir}/Torch" "${cmake_dir}/Caffe2"
     DESTINATION "${PREFIX}/share/cmake")
file(GLOB files "${PREFIX}/share/cmake/Torch/TorchConfig.cmake"
     "${PREFIX}/share/cmake/Caffe2/Caffe2Targets*.cmake")
foreach(file IN LISTS files)
  file(READ "${file}" text)
  string(REPLACE "_IMPORT_PREFIX}/${architecture}/" "_IMPORT_PREFIX}/lib/" text
                 "${text}")
  string(REPLACE "_IMPORT_PREFIX}/../include" "_IMPORT_PREFIX}/include" text
                 "${text}")
  string(REPLACE "/../../../../" "/../../../" text "${text}")
  file(WRITE "${file}" "${text}")
endforeach()
