#pragma once

// Keeps what the programs wrote during the tests, for packages/schema/check_records.py: each job
// file and all of jobctl's JSON, and beside it what the tests themselves put into files, to tell
// the two apart. It goes into JOBSHIM_RECORDS_DIR (from the environment), one file for each test
// program; without that, nothing is kept.

#include <string_view>

#include "integration/support/files.hpp"

namespace harness {

/// Keeps this text of a file, if it is a record that jobshim may have written.
void keep_record(const fs::path& file, std::string_view text);
/// The same for all files in a directory and below it.
void keep_records_in(const fs::path& directory);
/// `text` is what the test itself has written to `file`; it counts if it may be a job file.
void keep_forgery(const fs::path& file, std::string_view text);
/// For a process that has ended. Keeps what it wrote to stdout, if that is jobctl's JSON, and a
/// shim's record.
void keep_output(const Words& argv, const fs::path& cwd, int status, std::string_view out);

}  // namespace harness
