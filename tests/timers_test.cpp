#include "shim/jobshim/timers.hpp"

#include "tests/catch.hpp"

using namespace jobshim;
using std::chrono::nanoseconds;

namespace {

enum class Bell { early, late, count };

}  // namespace

TEST_CASE("timers: the next is the earliest that is set") {
    Timers<Bell> timers;
    CHECK_FALSE(timers.next());
    timers.set(Bell::late, nanoseconds(9));
    CHECK(timers.next() == nanoseconds(9));
    timers.set(Bell::early, nanoseconds(2));
    CHECK(timers.next() == nanoseconds(2));
    timers.set(Bell::early, nanoseconds(20));
    CHECK(timers.next() == nanoseconds(9));
}

TEST_CASE("timers: each goes off once and not before its time") {
    Timers<Bell> timers;
    timers.set(Bell::early, nanoseconds(2));
    timers.set(Bell::late, nanoseconds(9));
    CHECK_FALSE(timers.take(Bell::early, nanoseconds(1)));
    CHECK(timers.take(Bell::early, nanoseconds(2)));
    CHECK_FALSE(timers.take(Bell::early, nanoseconds(3)));
    CHECK_FALSE(timers.is_set(Bell::early));
    CHECK(timers.is_set(Bell::late));
    CHECK(timers.next() == nanoseconds(9));
    CHECK(timers.take(Bell::late, nanoseconds(100)));
    CHECK_FALSE(timers.next());
}

TEST_CASE("timers: one that may only be brought forward") {
    Timers<Bell> timers;
    timers.set_no_later(Bell::late, nanoseconds(9));
    timers.set_no_later(Bell::late, nanoseconds(12));
    CHECK(timers.next() == nanoseconds(9));
    timers.set_no_later(Bell::late, nanoseconds(4));
    CHECK(timers.next() == nanoseconds(4));
}
