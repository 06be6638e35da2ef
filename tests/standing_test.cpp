// Whose job it is, who acts, and what that allows.
#include "common/standing.hpp"

#include "tests/catch.hpp"

using namespace jobshim;

TEST_CASE("standing: who may act on whose job") {
    constexpr std::uint32_t root = 0;
    constexpr std::uint32_t alice = 1000;
    constexpr std::uint32_t bob = 1001;
    struct Row {
        const char* name;
        Parties parties;
        Standing standing;
        const char* why = "";
    };
    for (const Row& row : {
             Row{"one's own job in one's own directory",
                 {alice, alice, alice, 040700},
                 Standing::owner},
             Row{"one's own job in a sticky directory",
                 {alice, alice, root, 041777},
                 Standing::owner},
             Row{"one's own job where everybody may write",
                 {alice, alice, root, 040777},
                 Standing::owner},
             Row{"one's own job in another's directory",
                 {alice, alice, bob, 040755},
                 Standing::owner},
             Row{"another's job",
                 {alice, bob, bob, 040755},
                 Standing::onlooker,
                 "it belongs to uid 1001"},
             Row{"another's job in one's own directory",
                 {alice, bob, alice, 040700},
                 Standing::onlooker,
                 "it belongs to uid 1001"},
             Row{"root's job",
                 {alice, root, root, 040755},
                 Standing::onlooker,
                 "it belongs to uid 0"},
             Row{"root and a user's job", {root, bob, bob, 040700}, Standing::root_as_owner},
             Row{"root and a user's job in root's directory",
                 {root, bob, root, 040755},
                 Standing::root_as_owner},
             Row{"root and a user's job in a sticky directory",
                 {root, bob, root, 041777},
                 Standing::root_as_owner},
             Row{"root and a user's job where everybody may write",
                 {root, bob, root, 040777},
                 Standing::onlooker,
                 "it belongs to uid 1001, and others may write to its directory"},
             Row{"root and a user's job where a group may write",
                 {root, bob, bob, 040775},
                 Standing::onlooker,
                 "it belongs to uid 1001, and others may write to its directory"},
             Row{"root and a user's job in the directory of a third",
                 {root, bob, alice, 040755},
                 Standing::onlooker,
                 "it belongs to uid 1001, and others may write to its directory"},
             Row{"root and a user's job in a third's sticky directory",
                 {root, bob, alice, 041777},
                 Standing::onlooker,
                 "it belongs to uid 1001, and others may write to its directory"},
             Row{"root's own job anywhere", {root, root, bob, 040777}, Standing::owner},
             Row{"one's own hard link in one's own directory",
                 {alice, alice, alice, 040755, true},
                 Standing::owner},
             Row{"one's own file, linked in a sticky directory",
                 {alice, alice, root, 041777, true},
                 Standing::onlooker,
                 "it has a second name (a hard link), which may be another user's"},
             Row{"root's file, linked in a user's directory",
                 {root, root, bob, 040755, true},
                 Standing::onlooker,
                 "it has a second name (a hard link), which may be another user's"},
             Row{"root and a user's hard link in that user's directory",
                 {root, bob, bob, 040755, true},
                 Standing::root_as_owner},
         }) {
        CAPTURE(row.name);
        CHECK(standing_of(row.parties) == row.standing);
        CHECK(why_only_looking(row.parties) == row.why);
    }
}

TEST_CASE("standing: whose files count beside a job file") {
    CHECK(counts_for(1000, 1000));
    CHECK(counts_for(1000, 0));
    CHECK_FALSE(counts_for(1000, 1001));
    CHECK(counts_for(0, 0));
    CHECK_FALSE(counts_for(0, 1001));
}
