#include "integration/support/sandbox.hpp"

#include <sys/prctl.h>

#include <cstdlib>
#include <exception>

#include "integration/support/error.hpp"
#include "integration/support/proc.hpp"
#include "integration/support/records.hpp"
#include "tests/catch.hpp"

namespace harness {

Sandbox::Sandbox() {
    checked(prctl(PR_SET_CHILD_SUBREAPER, 1), "PR_SET_CHILD_SUBREAPER");
    reset_processes();
    setenv("XDG_STATE_HOME", (dir / "state").c_str(), 1);
    setenv("CLAUDE_CONFIG_DIR", (dir / "claude").c_str(), 1);
    unsetenv("CLAUDE_PLUGIN_DATA");
    // AddressSanitizer would turn off core dumps for the worker too, because limits are inherited.
    setenv("ASAN_OPTIONS", "disable_coredump=0", 1);
    unsetenv("JOBSHIM_JOB_FILE");
    for (const char* name : {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}) unsetenv(name);
}

Sandbox::~Sandbox() noexcept(false) {
    // A process that has just been told to end may need a moment; one that stays is a failure.
    const bool all_ended = wait_until([] { return living_descendants().empty(); },
                                      std::uncaught_exceptions() ? 0s : 2s);
    keep_records_in(dir);
    if (all_ended) return;
    std::string left;
    for (pid_t pid : living_descendants()) left += "\n  " + command_of(pid);
    kill_everything();
    if (std::uncaught_exceptions() == 0) FAIL_CHECK("processes outlived the test:" << left);
}

Process Sandbox::spawn(const Words& argv, const Options& options) { return {argv, options, dir}; }

Result Sandbox::run(const Words& argv, const Options& options) {
    return spawn(argv, options).wait(options.limit);
}

Process Sandbox::start_shim(const Words& arguments, const Options& options) {
    Words argv{jobshim};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return spawn(argv, options);
}

Result Sandbox::run_shim(const Words& arguments, const Options& options) {
    return start_shim(arguments, options).wait(options.limit);
}

Process Sandbox::start_job(const fs::path& file, const std::string& script, const Words& extra,
                           const Options& options) {
    Words arguments{"-j", file};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    arguments.insert(arguments.end(), {"--", "sh", "-c", script});
    return start_shim(arguments, options);
}

Result Sandbox::run_job(const fs::path& file, const std::string& script, const Words& extra,
                        const Options& options) {
    return start_job(file, script, extra, options).wait(options.limit);
}

Result Sandbox::ctl(const Words& arguments, const Options& options) {
    Words argv{jobctl};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return run(argv, options);
}

Json Sandbox::ctl_json(const Words& arguments, const Options& options) {
    auto with_json = arguments;
    with_json.insert(with_json.begin() + 1, "--json");
    const auto result = ctl(with_json, options);
    INFO("jobctl " << Json(with_json).dump() << " printed: " << result.out << result.err);
    const auto parsed = Json::parse(result.out, nullptr, false);
    REQUIRE_FALSE(parsed.is_discarded());
    return parsed;
}

fs::path Sandbox::public_copy(const std::string& program) {
    fs::permissions(dir, fs::perms(0755));
    const auto copy = dir / "bin" / fs::path(program).filename();
    fs::create_directories(copy.parent_path());
    fs::copy_file(program, copy, fs::copy_options::overwrite_existing);
    fs::permissions(copy.parent_path(), fs::perms(0755));
    fs::permissions(copy, fs::perms(0755));
    return copy;
}

}  // namespace harness
