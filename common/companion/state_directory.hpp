// A state directory of codex-companion: state.json, jobs/ and, below it, our own jobshim/.
//
// All of it belongs to the owner of the directory, who alone changes anything in it, or root acting
// as that user. In a place like /tmp anybody may have made a directory of the expected name.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/directory.hpp"
#include "common/standing.hpp"

namespace jobshim {

class CompanionDirectory {
public:
    // Throws std::system_error.
    explicit CompanionDirectory(const std::string& path);
    explicit CompanionDirectory(Directory top);

    const Directory& top() const { return top_; }
    // As Directory::strictly.
    CompanionDirectory strictly() const;
    const std::string& path() const { return top_.path(); }
    // Opened anew each time: the plugin may create them late. Nothing while there is none; throws
    // std::system_error, also for a symbolic link.
    std::optional<Directory> jobs() const { return top_.subdirectory("jobs"); }
    std::optional<Directory> own() const { return top_.subdirectory("jobshim"); }
    Directory make_own() const { return top_.make_subdirectory("jobshim"); }

    bool may_act() const { return standing_of(parties_) != Standing::onlooker; }
    const Parties& parties() const { return parties_; }
    // Throws Refusal if this process may not change a file of this owner here.
    void require_right_to(std::uint32_t file_owner, const std::string& file) const;

    // `id` must be a job id (is_job_id), because it may come from an untrusted file.
    static std::string job_name(std::string_view id);
    static std::string log_name(std::string_view id);
    static std::string stderr_name(std::string_view id);
    // For people and records.
    std::string index_path() const { return top_.path_of(index); }
    std::string job_path(std::string_view id) const;
    std::string log_path(std::string_view id) const;

    static constexpr const char* index = "state.json";

private:
    Directory top_;
    Parties parties_;
};

// True if the directory holds something of the plugin's or of ours.
bool is_companion_directory(const Directory& directory);

}  // namespace jobshim
