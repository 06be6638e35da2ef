#pragma once

// Catch2, in whichever of its two layouts is installed: the tests build with 2.13 and with 3.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

// Catch2 2 has no SKIP: ctest looks for "test skipped: " and reports it (tests/CMakeLists.txt).
#define SKIP_TEST(why)                   \
    do {                                 \
        WARN("test skipped: " << (why)); \
        return;                          \
    } while (false)
