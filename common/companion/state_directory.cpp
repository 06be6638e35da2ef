#include "common/companion/state_directory.hpp"

#include <unistd.h>

#include <utility>

#include "common/job_names.hpp"
#include "common/posix_error.hpp"

namespace jobshim {

CompanionDirectory::CompanionDirectory(const std::string& path)
    : CompanionDirectory(Directory::open(path)) {}

CompanionDirectory::CompanionDirectory(Directory top) : top_(std::move(top)) {
    parties_ = {.actor = ::geteuid(),
                .owner = top_.owner(),
                .directory_owner = top_.owner(),
                .directory_mode = top_.mode()};
    if (standing_of(parties_) == Standing::root_as_owner)
        top_ = top_.as(identity_of_user(top_.owner()));
}

CompanionDirectory CompanionDirectory::strictly() const {
    CompanionDirectory same = *this;
    same.top_ = top_.strictly();
    return same;
}

void CompanionDirectory::require_right_to(std::uint32_t file_owner, const std::string& file) const {
    if (!may_act()) throw Refusal(path() + ": " + why_only_looking(parties_));
    if (file_owner != parties_.owner)
        throw Refusal(file + ": belongs to uid " + std::to_string(file_owner) +
                      ", and its directory to uid " + std::to_string(parties_.owner));
}

std::string CompanionDirectory::job_name(std::string_view id) { return std::string(id) + ".json"; }

std::string CompanionDirectory::log_name(std::string_view id) { return std::string(id) + ".log"; }

std::string CompanionDirectory::stderr_name(std::string_view id) {
    return std::string(id) + ".stderr";
}

std::string CompanionDirectory::job_path(std::string_view id) const {
    return path_in(top_.path_of("jobs"), job_name(id));
}

std::string CompanionDirectory::log_path(std::string_view id) const {
    return path_in(top_.path_of("jobs"), log_name(id));
}

bool is_companion_directory(const Directory& directory) {
    for (const char* name : {"state.json", "jobs", "jobshim", "broker.json"})
        if (directory.stamp_if_known(name)) return true;
    return false;
}

}  // namespace jobshim
