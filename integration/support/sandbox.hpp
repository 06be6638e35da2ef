#pragma once

// Runs the built programs as a user would, and makes sure that a test leaves nothing behind: no
// process, no file. A test case is a method of Sandbox (TEST_CASE_METHOD): it has its own
// directory, with XDG_STATE_HOME in it, and every process that it starts is a descendant of the
// test process, which is a child subreaper. If one of them is still alive at the end of the test,
// the test fails.

#include <string>

#include "integration/support/json.hpp"
#include "integration/support/process.hpp"
#include "integration/support/programs.hpp"

namespace harness {

class Sandbox {
public:
    Sandbox();
    ~Sandbox() noexcept(false);

    Process spawn(const Words& argv, const Options& options = {});
    Result run(const Words& argv, const Options& options = {});
    /// Starts jobshim with these arguments.
    Process start_shim(const Words& arguments, const Options& options = {});
    Result run_shim(const Words& arguments, const Options& options = {});
    /// jobshim -j JOB EXTRA... -- sh -c SCRIPT
    Process start_job(const fs::path& file, const std::string& script, const Words& extra = {},
                      const Options& options = {});
    Result run_job(const fs::path& file, const std::string& script, const Words& extra = {},
                   const Options& options = {});
    Result ctl(const Words& arguments, const Options& options = {});
    Json ctl_json(const Words& arguments, const Options& options = {});
    /// A copy that any user may execute, wherever the build is.
    fs::path public_copy(const std::string& program);

private:
    TempDir temp_;

public:
    const fs::path& dir = temp_.path;
    const fs::path job = dir / "job.json";
};

}  // namespace harness
