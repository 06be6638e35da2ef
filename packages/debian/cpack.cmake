# The Debian package of the static programs: `cpack` in the build directory, or `./dev package deb`.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME jobshim)
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGE_CONTACT "The jobshim authors <jobshim@packages.invalid>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
# The component `programs` alone, as one package.
set(CPACK_INSTALL_CMAKE_PROJECTS "${PROJECT_BINARY_DIR};jobshim;programs;/")
set(CPACK_DEB_COMPONENT_INSTALL OFF)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE amd64)
if(JOBSHIM_ARCHITECTURE STREQUAL "aarch64")
  set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE arm64)
endif()
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "record how a background job ended, whatever ended it
jobshim is a prefix for the command of a background job, as nice or timeout
are. It waits for the command and writes into a JSON file how it ended: by an
exit status, a signal, the out-of-memory killer, a timeout or on request.
.
jobctl reads these files. It says whether a job is alive, waits for it, cancels
it, and corrects the record if jobshim itself was killed.")
set(CPACK_PRE_BUILD_SCRIPTS "${CMAKE_CURRENT_LIST_DIR}/as_debian_wants.cmake")
set(CPACK_JOBSHIM_SOURCE_DIR "${PROJECT_SOURCE_DIR}")
include(CPack)
