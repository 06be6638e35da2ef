#include "common/standing.hpp"

namespace jobshim {

namespace {

// Nobody but this user and root can rename or remove the user's files there.
bool is_safe_for(std::uint32_t user, const Parties& parties) {
    return (parties.directory_owner == user || parties.directory_owner == 0) &&
           (!others_may_write(parties.directory_mode) || is_sticky(parties.directory_mode));
}

bool may_be_somebodys_link(const Parties& parties) {
    return parties.has_second_name &&
           (others_may_write(parties.directory_mode) ||
            (parties.directory_owner != parties.owner && parties.directory_owner != 0));
}

}  // namespace

Standing standing_of(const Parties& parties) {
    if (may_be_somebodys_link(parties)) return Standing::onlooker;
    if (parties.actor == parties.owner) return Standing::owner;
    if (parties.actor == 0 && is_safe_for(parties.owner, parties)) return Standing::root_as_owner;
    return Standing::onlooker;
}

std::string why_only_looking(const Parties& parties) {
    if (standing_of(parties) != Standing::onlooker) return "";
    if (may_be_somebodys_link(parties))
        return "it has a second name (a hard link), which may be another user's";
    std::string words = "it belongs to uid " + std::to_string(parties.owner);
    if (parties.actor == 0) words += ", and others may write to its directory";
    return words;
}

}  // namespace jobshim
