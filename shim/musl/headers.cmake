# Takes only our libraries' headers from the system's directories, because the C library's own
# headers, which are not musl's, are beside them. find_package has found where they are.
function(jobshim_take_headers target)
  get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
  if(NOT folders)
    set(folders "${LIBMD_INCLUDEDIR}") # pkg-config omits a directory that every compiler searches
  endif()
  set(taken "${PROJECT_BINARY_DIR}/headers")
  file(MAKE_DIRECTORY "${taken}")
  foreach(name ${ARGN})
    find_path(folder "${name}" PATHS ${folders} NO_DEFAULT_PATH NO_CACHE REQUIRED)
    file(CREATE_LINK "${folder}/${name}" "${taken}/${name}" SYMBOLIC)
    unset(folder)
  endforeach()
  set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${taken}")
endfunction()

jobshim_take_headers(Boost::headers boost)
jobshim_take_headers(CLI11::CLI11 CLI)
jobshim_take_headers(nlohmann_json::nlohmann_json nlohmann)
jobshim_take_headers(PkgConfig::LIBMD sha2.h)
