# What `cmake --install` installs, in two components: `programs`, which the packages are made of, and
# `reader`, the library for other C++ programs.

install(TARGETS jobshim RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT programs)
if(JOBSHIM_JOBCTL)
  install(TARGETS jobctl RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT programs)
endif()
install(DIRECTORY man/ DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT programs
  FILES_MATCHING PATTERN "*.1")
# Each of these completes both programs, but bash and fish look for a file of the command's name.
if(JOBSHIM_JOBCTL)
  set(completion shim/jobctl/completion)
  set(links "${PROJECT_BINARY_DIR}/completion")
  file(MAKE_DIRECTORY "${links}")
  file(CREATE_LINK jobctl "${links}/jobshim" SYMBOLIC)
  file(CREATE_LINK jobctl.fish "${links}/jobshim.fish" SYMBOLIC)
  set(folder "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")
  install(FILES ${completion}/jobctl.bash DESTINATION "${folder}" RENAME jobctl COMPONENT programs)
  install(FILES "${links}/jobshim" DESTINATION "${folder}" COMPONENT programs)
  set(folder "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d")
  install(FILES ${completion}/jobctl.fish "${links}/jobshim.fish" DESTINATION "${folder}"
    COMPONENT programs)
  set(folder "${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions")
  install(FILES ${completion}/jobctl.zsh DESTINATION "${folder}" RENAME _jobctl COMPONENT programs)
endif()
install(DIRECTORY packages/schema/ DESTINATION "${CMAKE_INSTALL_DATADIR}/jobshim" COMPONENT programs
  FILES_MATCHING PATTERN "*.schema.json")

# The licences of everything that is linked in, and of nothing else.
set(licences boost cli11 nlohmann-json)
if(JOBSHIM_JOBCTL)
  list(APPEND licences libmd)
endif()
if(JOBSHIM_MUSL)
  list(APPEND licences musl llvm zig)
elseif(jobshim_is_static)
  list(APPEND licences gnu)
endif()
list(TRANSFORM licences PREPEND docs/licences/)
list(TRANSFORM licences APPEND .txt)
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT programs)
install(FILES ${licences} DESTINATION "${CMAKE_INSTALL_DOCDIR}/licences" COMPONENT programs)

if(JOBSHIM_MUSL)
  include(packages/debian/cpack.cmake)
  # The library must be built by the compiler that builds its user, and Zig's libc++ is nobody else's.
  return()
endif()
include(CMakePackageConfigHelpers)
set(reader_dir "${CMAKE_INSTALL_LIBDIR}/cmake/jobshim")
configure_package_config_file(packages/cpp/jobshim-config.cmake.in jobshim-config.cmake
  INSTALL_DESTINATION "${reader_dir}" PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(jobshim-config-version.cmake COMPATIBILITY SameMinorVersion)
file(RELATIVE_PATH above_pkgconfig "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
configure_file(packages/cpp/jobshim.pc.in jobshim.pc @ONLY)
install(FILES "$<TARGET_FILE:jobshim_common>" DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  RENAME libjobshim.a COMPONENT reader)
install(FILES common/reader.hpp common/words.hpp
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/jobshim" COMPONENT reader)
install(FILES
  "${CMAKE_CURRENT_BINARY_DIR}/jobshim-config.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/jobshim-config-version.cmake"
  DESTINATION "${reader_dir}" COMPONENT reader)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/jobshim.pc"
  DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT reader)
