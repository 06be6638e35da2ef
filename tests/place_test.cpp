#include "common/place.hpp"

#include "tests/catch.hpp"

using namespace jobshim;

TEST_CASE("place: where a recorded process can be looked up") {
    ShimIdentity here;
    here.pid = 4711;
    here.boot_id = "this boot";
    here.machine_id = "this machine";
    here.host = "this host";
    here.pid_namespace = 1;
    here.time_namespace = std::nullopt;

    const auto but = [&](auto change) {
        ShimIdentity other = here;
        change(other);
        return other;
    };
    using Identity = ShimIdentity;
    struct Case {
        const char* what;
        ShimIdentity recorded;
        Place place;
    };
    const Case cases[] = {
        {"the same in all", here, Place::here},
        {"another process", but([](Identity& it) { it.pid = 1; }), Place::here},
        // While the boot is the same, the host's names may have changed.
        {"another host's name", but([](Identity& it) { it.host = "another"; }), Place::here},
        {"another pid namespace", but([](Identity& it) { it.pid_namespace = 2; }),
         Place::other_namespace},
        {"an unknown pid namespace", but([](Identity& it) { it.pid_namespace.reset(); }),
         Place::other_namespace},
        {"another time namespace", but([](Identity& it) { it.time_namespace = 1; }),
         Place::other_namespace},
        {"another boot", but([](Identity& it) { it.boot_id = "another"; }), Place::before_reboot},
        {"another boot and pid namespace", but([](Identity& it) {
             it.boot_id = "another";
             it.pid_namespace = 2;
         }),
         Place::before_reboot},
        {"another boot and host's name", but([](Identity& it) {
             it.boot_id = "another";
             it.host = "another";
         }),
         Place::elsewhere},
        {"another boot and machine", but([](Identity& it) {
             it.boot_id = "another";
             it.machine_id = "another";
         }),
         Place::elsewhere},
        {"no boot id", but([](Identity& it) { it.boot_id = ""; }), Place::elsewhere},
    };
    for (const Case& each : cases) {
        CAPTURE(each.what);
        CHECK(place_of(each.recorded, here) == each.place);
    }
}

TEST_CASE("place: hosts without a machine id differ and without a boot id nothing is here") {
    ShimIdentity here;
    here.boot_id = "this boot";
    here.host = "localhost";
    here.pid_namespace = 1;
    ShimIdentity earlier = here;
    earlier.boot_id = "another";
    CHECK(place_of(here, here) == Place::here);
    CHECK(place_of(earlier, here) == Place::elsewhere);
    ShimIdentity bootless = here;
    bootless.boot_id = "";
    CHECK(place_of(bootless, bootless) == Place::elsewhere);
    CHECK(place_of(here, bootless) == Place::elsewhere);
}
