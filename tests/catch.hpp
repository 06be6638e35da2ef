#pragma once

// Catch2, whichever of its two layouts is installed: the tests build with 2.13 and with 3.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

// Catch2 2 knows no SKIP: ctest reads "test skipped: " and says so (tests/CMakeLists.txt).
#define SKIP_TEST(why)                   \
    do {                                 \
        WARN("test skipped: " << (why)); \
        return;                          \
    } while (false)
