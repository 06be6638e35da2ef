// What our own record must keep of the plugin's: at the end of a session the plugin removes its
// files, and with them what they said.
//
// Each writes only if nobody else is writing to the record. If it cannot, it does not: what the
// plugin says is still there, to be kept by the next one who looks.
#pragma once

#include <string>

#include "common/companion/remedy.hpp"
#include "common/job_files.hpp"

namespace jobshim {

// The final one of the two, the job file before its entry; null if neither is.
const JobDocument* final_word_in(const CompanionView& view);

// Writes that word into our record, if that has ended with another one.
void keep_last_word(const JobFiles& own, const CompanionView& view) noexcept;

// Writes into our record, if the shim died before it could, which of the plugin's jobs it is of.
void keep_companion_job(const JobFiles& own, const std::string& job) noexcept;

}  // namespace jobshim
