// The cursor of `jobctl events`.
#include "shim/jobctl/event_cursor.hpp"

#include "common/units.hpp"
#include "tests/catch.hpp"

using namespace jobshim;

namespace {

EventPosition::Told told_end(std::uint64_t key, std::int64_t at_ns) {
    return {key, at_ns, key, true};
}

}  // namespace

TEST_CASE("event cursor: what is written is read again") {
    EventPosition here;
    here.directory = event_key({"/jobs"}) & 0xFFFFFFFFU;
    here.told_before = 1'790'000'000'123'456'789;
    here.tell(told_end(event_key({"a"}), here.told_before));
    here.odd[event_key({"b"})] = Oddity::awaited;
    here.odd[event_key({"c"})] = Oddity::stalled;
    EventPosition there;
    there.directory = 7;
    there.began_at = 5;
    const auto read = parse_cursor(text_of({here, there}));
    REQUIRE(read);
    REQUIRE(read->size() == 2);
    const EventPosition& first = read->front();
    CHECK(first.directory == here.directory);
    CHECK(first.told_before == here.told_before);
    CHECK(first.began_at == 0);
    CHECK(first.was_told(event_key({"a"})));
    CHECK_FALSE(first.was_told(event_key({"b"})));
    CHECK(first.odd == here.odd);
    CHECK(read->back().directory == 7);
    CHECK(read->back().began_at == 5);
    CHECK(text_of(*read) == text_of({here, there}));
}

TEST_CASE("event cursor: what is no cursor is refused") {
    const auto bytes = from_base64(text_of({EventPosition{}}));
    REQUIRE(bytes);
    for (std::size_t length = 2; length < bytes->size(); ++length) {
        CAPTURE(length);
        CHECK_FALSE(parse_cursor(base64(bytes->substr(0, length))));
    }
    for (const char* text : {"", "x", "nonsense", "AA==", "Ag=="}) CHECK_FALSE(parse_cursor(text));
    CHECK(parse_cursor(text_of({})));
    std::string odd = *bytes;
    odd[odd.size() - 2] = '\1';  // one odd job
    CHECK_FALSE(parse_cursor(base64(odd + "namekeyX")));
    CHECK_FALSE(parse_cursor(base64(odd + "namekX")));
    CHECK(parse_cursor(base64(odd + "nameks" + "s")));
}

TEST_CASE("event cursor: it names what the time does not cover, and stays short") {
    EventPosition position;
    position.advance_to(1'000'000'000'000);
    const std::int64_t now = position.told_before;
    for (std::uint64_t key = 1; key <= 1000; ++key) {
        position.tell(told_end(key, now + static_cast<std::int64_t>(key)));
        position.advance_to(now + static_cast<std::int64_t>(key));
        CHECK(position.was_told(key));
    }
    CHECK(position.told.size() <= 5);
    // Of the same moment, or later than it: all.
    for (std::uint64_t key = 2001; key <= 2100; ++key) position.tell(told_end(key, now + 1001));
    position.advance_to(now + 1001);
    CHECK(position.told.size() >= 100);
    position.advance_to(now + 1002);
    CHECK(position.told.size() <= 4);
    // The moment does not go back.
    position.advance_to(now);
    CHECK(position.told_before == now + 1002);
}

TEST_CASE("event cursor: a start is named until the end is told or a second has passed") {
    EventPosition position;
    const std::int64_t now = 1'000'000'000'000;
    position.tell({event_key({"a", "appeared"}), now, 1, false});
    position.tell({event_key({"a", "started"}), now + 1, 1, false});
    CHECK_FALSE(position.was_told(event_key({"a", "appeared"})));
    position.tell({event_key({"b", "started"}), now + 1, 2, false});
    position.advance_to(now + 500'000'000);
    CHECK(position.was_told(event_key({"a", "started"})));
    position.tell({event_key({"a", "ended"}), now + 500'000'000, 1, true});
    CHECK_FALSE(position.was_told(event_key({"a", "started"})));
    CHECK(position.was_told(event_key({"b", "started"})));
    position.advance_to(now + 1'500'000'000);
    CHECK_FALSE(position.was_told(event_key({"b", "started"})));
    CHECK(position.was_told(event_key({"a", "ended"})));
}

TEST_CASE("event cursor: words are not run together in a key") {
    CHECK(event_key({"ab", "c"}) != event_key({"a", "bc"}));
    CHECK(event_key({"a"}) != event_key({"a", ""}));
    CHECK(event_key({"a"}) >> 48U == 0);
}
