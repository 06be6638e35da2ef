// What a job costs, in counts that do not depend on the machine's load. The budget is what the
// release build needs now, plus a little room; a change that raises it says so here, and why. How
// often a shim at rest wakes up is tested in at_rest_test.cpp. Times are measured by ./dev bench
// and decide nothing.

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "integration/strace.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

#ifdef JOBSHIM_RELEASE_BUILD
constexpr bool is_release_build = true;
#else
constexpr bool is_release_build = false;
#endif

struct Budget {
    const char* sync;
    int system_calls;   // of the shim, and of its child before the exec
    int files_created;  // the heartbeat file, the reserve, and each version of the job file
    int flushes;        // of a file or a directory
    int bytes_written;  // to files; host names differ in length
    int page_faults;    // beyond those of the worker itself
};

// The shim asks whether its launcher holds record locks, which it must not drop: a look at
// /proc/self/fdinfo for each inherited descriptor. And it leaves the launcher's working directory.

// For each C library that jobshim may be linked with. Instructions are counted by callgrind;
// compilers differ by a few per cent.
struct LibraryBudget {
    Budget budgets[3];
    long instructions_of_a_job;
};
constexpr LibraryBudget glibc{{{"never", 175, 4, 0, 4900, 118},
                               {"final", 179, 4, 2, 4900, 118},
                               {"always", 187, 4, 6, 4900, 118}},
                              1'300'000};
// musl makes an fcntl after each open, and more calls for memory.
constexpr LibraryBudget musl{{{"never", 203, 4, 0, 4900, 100},
                              {"final", 208, 4, 2, 4900, 100},
                              {"always", 218, 4, 6, 4900, 100}},
                             1'500'000};
const LibraryBudget& budget_of_library() { return is_linked_with_glibc() ? glibc : musl; }
constexpr long instructions_of_a_list = 11'000'000;  // of 100 jobs, by jobctl

struct Cost {
    int system_calls = 0;
    int files_created = 0;
    int flushes = 0;
    int bytes_written = 0;
};

// Calls that depend on how many processes there are, how deep the test's directory is, or what kind
// of memory cgroup this is: their number differs from machine to machine.
bool depends_on_the_machine(const Call& call) {
    if (call.name == "getpgid" || call.name == "getdents64" || call.name == "readlink") return true;
    for (const char* file : {"/sys/fs/cgroup/", "/self/cgroup", "/mountinfo", "/vmstat"})
        if (contains(call.line, file)) return true;
    return false;
}

int result_of(const std::string& line) {
    const auto at = line.rfind(" = ");
    return at == std::string::npos
               ? 0
               : static_cast<int>(std::max(std::strtol(line.c_str() + at + 3, nullptr, 10), 0L));
}

Cost cost_of(Sandbox& box, const Words& argv, const fs::path& directory) {
    Cost cost;
    bool executed = false;  // from then on the calls are the worker's
    for (const auto& call : record(box, argv, directory)) {
        if (call.process > 1 || (call.process == 1 && executed)) continue;
        executed = executed || (call.process == 1 && call.name == "execve");
        if (depends_on_the_machine(call)) continue;
        ++cost.system_calls;
        if (call.kind() == "openat" && contains(call.line, "O_CREAT") && result_of(call.line) > 0)
            ++cost.files_created;
        if (call.name == "fsync" || call.name == "fdatasync") ++cost.flushes;
        if (call.name == "write" && !call.paths.empty()) cost.bytes_written += result_of(call.line);
    }
    return cost;
}

// The median of several runs. `argv` is given the number of the run, because each needs a new job
// file.
long faults_of(Sandbox& box, const std::function<Words(int)>& argv) {
    const auto so_far = [] {
        rusage usage{};
        ::getrusage(RUSAGE_CHILDREN, &usage);
        return usage.ru_minflt + usage.ru_majflt;
    };
    std::vector<long> faults;
    for (int i = 0; i < 5; ++i) {
        const long before = so_far();
        CHECK(box.run(argv(i)).ended() == "exit 0");
        faults.push_back(so_far() - before);
    }
    std::sort(faults.begin(), faults.end());
    return faults[faults.size() / 2];
}

// Of the started process alone, not of what it executes.
long instructions_of(Sandbox& box, Words argv) {
    const fs::path counts = box.dir / "callgrind";
    argv.insert(argv.begin(), {"valgrind", "--tool=callgrind", "--quiet",
                               "--callgrind-out-file=" + counts.string()});
    CHECK(box.run(argv).ended() == "exit 0");
    const auto text = slurp(counts);
    const std::string word = "\nsummary: ";
    const auto at = text.find(word);
    return at == std::string::npos ? 0 : std::strtol(text.c_str() + at + word.size(), nullptr, 10);
}

}  // namespace

TEST_CASE_METHOD(Sandbox, "a job stays within its budget", "[libc]") {
    if (!is_release_build) SKIP_TEST("the budget is that of the static release build");
    const std::string worker = "/bin/true";
    // The test's own fork costs both the same.
    const auto bare = faults_of(*this, [&](int) { return Words{worker}; });
    for (const Budget& budget : budget_of_library().budgets) {
        CAPTURE(budget.sync);
        const fs::path directory =
            dir / "jobs";  // the same in each round: the length of its name matters
        fs::remove_all(directory);
        fs::create_directory(directory);
        const auto job_number = [&](int i) {
            const fs::path file = directory / ("job-" + std::to_string(i) + ".json");
            return Words{jobshim, "--sync", budget.sync, "--job", file, "--", worker};
        };

        const Cost cost = cost_of(*this, job_number(9), directory);
        CHECK(cost.system_calls <= budget.system_calls);
        CHECK(cost.files_created <= budget.files_created);
        CHECK(cost.files_created > 1);  // opens are recognized, whatever strace calls them
        CHECK(cost.flushes <= budget.flushes);
        CHECK(cost.bytes_written <= budget.bytes_written);
        CHECK(cost.system_calls > 50);  // strace did see something
        CHECK(cost.bytes_written > 1000);

        const auto faults = faults_of(*this, job_number) - bare;
        CHECK(faults <= budget.page_faults);
        std::printf(
            "--sync %s: %d system calls, %d files created, %d flushes, %d bytes written, "
            "%ld page faults\n",
            budget.sync, cost.system_calls, cost.files_created, cost.flushes, cost.bytes_written,
            faults);
    }
}

TEST_CASE_METHOD(Sandbox, "a job and a list stay within their instruction budgets", "[libc]") {
    if (!is_release_build) SKIP_TEST("the budget is that of the static release build");
    if (!in_path("valgrind")) SKIP_TEST("no valgrind in PATH");
    const fs::path jobs = dir / "jobs";
    fs::create_directory(jobs);
    const auto first = jobs / "job-0.json";
    const long of_a_job =
        instructions_of(*this, {jobshim, "--sync", "never", "--job", first, "--", "/bin/true"});
    CHECK(of_a_job > 100'000);  // valgrind did count something
    CHECK(of_a_job <= budget_of_library().instructions_of_a_job);
    for (int i = 1; i < 100; ++i) put(jobs / ("job-" + std::to_string(i) + ".json"), slurp(first));
    const long of_a_list = instructions_of(*this, {jobctl, "list", "--dir", jobs});
    CHECK(of_a_list > of_a_job);
    CHECK(of_a_list <= instructions_of_a_list);
    std::printf("instructions: %ld of a job, %ld of a list of 100\n", of_a_job, of_a_list);
}
