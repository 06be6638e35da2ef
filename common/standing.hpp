// Whose job it is, who acts, and what that allows. Pure.
//
// A job belongs to the owner of its job file. Only that user changes anything about it, or root
// acting as that user; everybody else only looks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace jobshim {

enum class Standing {
    owner,          // acts for itself
    root_as_owner,  // acts with the owner's identity
    onlooker,       // reads what it may, and changes nothing
};

struct Parties {
    std::uint32_t actor = 0;  // effective user id
    std::uint32_t owner = 0;  // of the job file; the actor's where there is none
    std::uint32_t directory_owner = 0;
    std::uint32_t directory_mode = 0700;  // as in st_mode
    // The job file is a hard link. Where others may make one, it may be theirs: another of the
    // owner's files, in the guise of a job.
    bool has_second_name = false;
};

Standing standing_of(const Parties& parties);

// Why an onlooker may not act, for a sentence: "it belongs to uid 1001"; "" for others.
std::string why_only_looking(const Parties& parties);

// True if the group or everybody may write to something of this mode (st_mode). An access list
// shows in the group's bits.
constexpr bool others_may_write(std::uint32_t mode) { return (mode & 0022U) != 0; }
constexpr bool everybody_may_write(std::uint32_t mode) { return (mode & 0002U) != 0; }
// In such a directory only a file's owner, or the directory's, may rename or remove it.
constexpr bool is_sticky(std::uint32_t mode) { return (mode & 01000U) != 0; }
// True if a file system gives every file the mode of its directory (vfat, drvfs, vboxsf): then it
// says nothing about who may write to the file.
constexpr bool has_no_modes(std::uint32_t file_mode, std::uint32_t directory_mode) {
    return (file_mode & 0777U) == (directory_mode & 0777U) && (file_mode & 0100U) != 0;
}

// True if a file beside the job file counts (heartbeat file, request, copy, log): anybody may have
// put it there.
constexpr bool counts_for(std::uint32_t job_owner, std::uint32_t file_owner) {
    return file_owner == job_owner || file_owner == 0;
}

}  // namespace jobshim
