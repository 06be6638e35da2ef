# Run by cpack on the directory that becomes the package: what Debian's policy wants and nobody else.
set(usr "${CPACK_TEMPORARY_DIRECTORY}/usr")
set(doc "${usr}/share/doc/jobshim")
set(here "${CPACK_JOBSHIM_SOURCE_DIR}/packages/debian")

file(GLOB pages "${usr}/share/man/man1/*.1")
execute_process(COMMAND gzip -9n ${pages} COMMAND_ERROR_IS_FATAL ANY)

file(REMOVE "${doc}/LICENSE") # `copyright` has it
configure_file("${here}/copyright" "${doc}/copyright" COPYONLY)
# Without TIMESTAMP's SOURCE_DATE_EPOCH (./dev sets it) it would be the time of the build.
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
set(version "${CPACK_PACKAGE_VERSION}")
set(contact "${CPACK_PACKAGE_CONTACT}")
configure_file("${here}/changelog.in" "${doc}/changelog" @ONLY)
execute_process(COMMAND gzip -9n "${doc}/changelog" COMMAND_ERROR_IS_FATAL ANY)

configure_file("${here}/lintian-overrides" "${usr}/share/lintian/overrides/jobshim" COPYONLY)
