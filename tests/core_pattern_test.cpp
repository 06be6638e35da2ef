#include "common/core_pattern.hpp"

#include "tests/catch.hpp"

using namespace jobshim;

TEST_CASE("core pattern: a description of where a core dump went") {
    CHECK(describe_core("|/usr/lib/systemd/systemd-coredump %P %u", "/src") ==
          "core dump piped to /usr/lib/systemd/systemd-coredump (core_pattern "
          "'|/usr/lib/systemd/systemd-coredump %P %u')");
    CHECK(describe_core("|/bin/x", "/src") == "core dump piped to /bin/x (core_pattern '|/bin/x')");
    CHECK(describe_core("/var/cores/%e.%p", "/src") ==
          "core dump named by core_pattern '/var/cores/%e.%p'");
    CHECK(describe_core("core", "/src") ==
          "core dump named by core_pattern 'core', relative to the worker's directory (started in "
          "/src)");
    CHECK(describe_core("@@/run/cores.socket", "/src") ==
          "core dump sent to the socket /run/cores.socket (core_pattern '@@/run/cores.socket')");
    for (const char* odd : {"", "|", "| x", "@", "@@@", " "})
        CHECK_FALSE(describe_core(odd, "/").empty());
}
