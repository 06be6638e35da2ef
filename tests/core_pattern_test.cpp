#include "common/core_pattern.hpp"

#include "tests/catch.hpp"

using namespace jobshim;

TEST_CASE("core pattern: a description of where a core dump went") {
    CHECK(core_in_words("|/usr/lib/systemd/systemd-coredump %P %u", "/src") ==
          "core dump piped to /usr/lib/systemd/systemd-coredump (core_pattern "
          "'|/usr/lib/systemd/systemd-coredump %P %u')");
    CHECK(core_in_words("|/bin/x", "/src") == "core dump piped to /bin/x (core_pattern '|/bin/x')");
    CHECK(core_in_words("/var/cores/%e.%p", "/src") ==
          "core dump named by core_pattern '/var/cores/%e.%p'");
    CHECK(core_in_words("core", "/src") ==
          "core dump named by core_pattern 'core', relative to the worker's directory (started in "
          "/src)");
    CHECK(core_in_words("@@/run/cores.socket", "/src") ==
          "core dump sent to the socket /run/cores.socket (core_pattern '@@/run/cores.socket')");
    for (const char* odd : {"", "|", "| x", "@", "@@@", " "})
        CHECK_FALSE(core_in_words(odd, "/").empty());
}
