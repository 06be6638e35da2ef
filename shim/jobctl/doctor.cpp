// jobctl doctor [JOB]: what can be proved on this host and in the job directory, and what it costs
// where something cannot. Each ability is tried out, not looked up.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "common/atomic_file.hpp"
#include "common/clocks.hpp"
#include "common/core_pattern.hpp"
#include "common/heartbeat.hpp"
#include "common/kernel_log.hpp"
#include "common/oom_evidence.hpp"
#include "common/posix_error.hpp"
#include "common/process_identity.hpp"
#include "common/send_signal.hpp"
#include "common/system_calls.hpp"
#include "common/units.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/file_watch.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/selection.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

struct Finding {
    std::string what;
    bool works = false;
    bool may_end_in_unknown = false;  // because it does not work
    std::string words;                // what was found, and, if it does not work, what that costs
};

// The directory itself, or its nearest ancestor that exists.
Directory existing_part_of(std::string path) {
    for (;;) {
        if (auto directory = Directory::open_if_there(path)) return *std::move(directory);
        path.resize(std::max<std::size_t>(path.rfind('/'), 1));
    }
}

class Doctor {
public:
    Doctor(const Directory& directory, const Observer& observer)
        : trial_(trial_in(directory)), directory_(trial_.directory), observer_(observer) {}
    ~Doctor() {
        for (const std::string& name : {trial_.name, trial_.heartbeat, trial_.fresh})
            directory_.remove(name);
    }
    Doctor(const Doctor&) = delete;
    Doctor& operator=(const Doctor&) = delete;

    std::vector<Finding> examine() {
        if (may_be_interfered_with()) {
            add("directory", false, true,
                "others may rename what is in " + directory_.path() + ": nothing is tried there");
        } else if (directory_.may_write()) {
            look_at_locks();
            look_at_files();
        } else {
            add("directory", false, true,
                directory_.path() +
                    " cannot be written: no job can be recorded here, and no dead one settled");
        }
        look_at_file_system();
        look_at_processes();
        look_at_host();
        look_at_oom();
        look_at_the_rest();
        return std::move(findings_);
    }

private:
    // What is made in such a directory, another could put to use as if its maker had put it there.
    bool may_be_interfered_with() const {
        if (::geteuid() != 0) return !counts_for(::geteuid(), directory_.owner());
        return others_may_write(directory_.mode()) && !is_sticky(directory_.mode());
    }

    // In a user's directory root tries what that user can do.
    static JobFiles trial_in(const Directory& directory) {
        JobFiles trial = job_files_in(directory, Directory::random_name_like(".jobshim-doctor"));
        FileStamp owner;
        owner.owner = directory.owner();
        owner.group = directory.group();
        if (::geteuid() == 0) take_owner_from(trial, owner);
        return trial;
    }

    void add(std::string what, bool works, bool may_end_in_unknown, std::string words) {
        findings_.push_back(
            {std::move(what), works, !works && may_end_in_unknown, std::move(words)});
    }

    // If the test throws, the ability does not work.
    void attempt(const char* what, bool vital, const char* cost,
                 const std::function<std::string()>& test) {
        try {
            add(what, true, vital, test());
        } catch (const std::exception& error) {
            add(what, false, vital, std::string(error.what()) + "; " + cost);
        }
    }

    void look_at_locks() {
        attempt("locks", true,
                "only its pid, start time and boot id show that a shim is alive: from a container "
                "or another host, a live one is unknown",
                [&] {
                    HeartbeatHold hold = HeartbeatHold::acquire(trial_, milliseconds(0));
                    if (!hold.locked()) throw Refusal("no POSIX locks on this file system");
                    // A process never conflicts with its own lock: another process has to look.
                    const pid_t child = ::fork();
                    if (child < 0) throw_errno("fork");
                    if (child == 0)
                        ::_exit(probe_heartbeat(trial_).lock == LivenessLock::held ? 0 : 1);
                    int status = 0;
                    ::waitpid(child, &status, 0);
                    hold.release(HeartbeatHold::Leave::nothing);
                    if (status != 0)
                        throw Refusal("another process does not see a lock that is held");
                    return std::string("POSIX locks work, and other processes see them");
                });
    }

    void look_at_files() {
        attempt("exchange", false,
                "a host that rewrites a job file at the same moment may lose what it wrote", [&] {
                    StagedFile first(directory_, trial_.fresh, std::nullopt);
                    first.write("{}");
                    first.commit_as_new(trial_.name);
                    StagedFile second(directory_, trial_.fresh, std::nullopt);
                    second.write("{}");
                    if (second.commit_by_exchange(trial_.name) != StagedFile::Commit::exchanged)
                        throw Refusal("RENAME_EXCHANGE is not supported here");
                    second.remove();
                    return std::string("two files can be exchanged in one step");
                });
        attempt("reservation", false, "a disk that fills up may cost a job its final record", [&] {
            StagedFile file(directory_, trial_.fresh, std::nullopt);
            if (!file.reserve(65536)) throw Refusal("space cannot be reserved here");
            file.remove();
            return std::string("space can be reserved for the final record");
        });
        attempt("flushing", false, "a power cut may cost a job its final record", [&] {
            StagedFile file(directory_, trial_.fresh, std::nullopt);
            file.write("{}");
            const auto began = monotonic_now();
            file.flush();
            const UniqueFd directory = directory_.open_to_flush();
            if (!directory) throw Refusal("the directory cannot be read");
            if (!flush_to_disk(directory.get())) throw_errno("flush " + directory_.path());
            file.remove();
            const auto took =
                std::chrono::duration_cast<std::chrono::microseconds>(monotonic_now() - began);
            return "a file and its directory in " + std::to_string(took.count()) + " us";
        });
    }

    void look_at_file_system() {
        const bool local = directory_.is_local();
        add("file system", local, true,
            local ? directory_.path() + " is local to this host"
                  : directory_.path() +
                        " may be shared with other hosts: a job is unknown to them, and to this "
                        "host after a reboot");
    }

    void look_at_processes() {
        const auto own = read_process_stat(::getpid());
        add("start times", own.has_value(), true,
            own ? "/proc tells a process from a later one with the same pid"
                : "no /proc: a reused pid cannot be recognised");
        const bool others = read_process_stat(1).has_value();
        add("other users", others, true,
            others
                ? "their processes can be looked up"
                : "their processes are hidden (hidepid): whether their shims are alive is unknown");
        const bool handles = bool(open_process(::getpid(), std::nullopt));
        add("pidfds", handles, false,
            handles ? "waiting needs no polling, and a signal cannot reach the wrong process"
                    : "none: cancel cannot signal, and wait has to poll");
        const bool statuses = keeps_statuses();
        add("exit statuses", statuses, false,
            statuses
                ? "a wait that watched an orphan records how it ended"
                : "only a parent learns it (Linux before 6.15): how an orphan ended stays unknown");
    }

    static bool keeps_statuses() {
        const pid_t child = ::fork();
        if (child == 0) {
            ::pause();
            ::_exit(0);
        }
        if (child < 0) return false;
        const ProcessHandle process = open_process(child, std::nullopt);
        (void)signal_child(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        return process && wait_status_of(process) == SIGKILL;
    }

    void look_at_host() {
        const ShimIdentity& here = observer_.here;
        add("boot id", !here.boot_id.empty(), true,
            here.boot_id.empty() ? "none: a pid proves nothing after a reboot"
                                 : "a reboot is noticed");
        add("machine id", !here.machine_id.empty(), true,
            here.machine_id.empty()
                ? "/etc/machine-id is empty: after a reboot, every job that was running is unknown"
                : "this host recognises its own jobs after a reboot");
        const bool initial = here.pid_namespace == initial_pid_namespace;
        add("pid namespace", initial, true,
            initial ? "the host's own"
                    : "this is a container: outside it, or once it is gone, its jobs are unknown");
    }

    void look_at_oom() {
        const auto oom = read_oom_baseline();
        const bool counts = oom && !oom->group.empty();
        add("oom counter", counts, false,
            counts ? oom->counter
                   : "no memory controller: an OOM kill looks like any other SIGKILL");
        const bool log = kernel_log_is_readable();
        add("kernel log", log, false,
            log ? "/dev/kmsg names the victims of the OOM killer"
                : "/dev/kmsg cannot be read: the victim of an OOM kill can only be inferred");
    }

    void look_at_the_rest() {
        FileWatch watch;
        const bool watches = watch.watch_directory(directory_).has_value();
        add("inotify", watches, false,
            watches ? "changes to a job file are seen at once"
                    : "no watches left: jobs are checked every second");
        const std::string pattern = read_core_pattern();
        add("core dumps", !pattern.empty(), false,
            pattern.empty() ? "core_pattern cannot be read: where a core dump went is not recorded"
                            : "core_pattern is " + printable(pattern));
        const std::string clock = source_of_time();
        add("clock", true, false, "source " + (clock.empty() ? "unknown" : printable(clock)));
        add("set-uid workers", false, false,
            "a worker that executes a setuid program or changes its user outlives a killed shim "
            "(the kernel clears PDEATHSIG): it is orphaned until it ends");
    }

    const JobFiles trial_;
    const Directory directory_;
    const Observer& observer_;
    std::vector<Finding> findings_;
};

std::string line_of(const Finding& finding) {
    constexpr std::size_t column = 17;
    return std::string(finding.works                ? "works     "
                       : finding.may_end_in_unknown ? "UNKNOWN   "
                                                    : "missing   ") +
           finding.what + std::string(column - std::min(column - 1, finding.what.size()), ' ') +
           printable(finding.words) + "\n";
}

std::string json_of(const Finding& finding) {
    return printable_json(R"({"what": )" + json_string(finding.what) + R"(, "works": )" +
                          (finding.works ? "true" : "false") + R"(, "mayEndInUnknown": )" +
                          (finding.may_end_in_unknown ? "true" : "false") + R"(, "because": )" +
                          json_string(finding.words) + "}");
}

}  // namespace

Outcome run_doctor(const CtlOptions& options, const Context& context) {
    std::optional<Directory> directory;
    if (!options.jobs.empty()) {
        const auto files = select_job(options.jobs.front(), context.directories);
        if (!files) {
            complain_of_no_such_job(options.jobs.front());
            return Outcome::no_such_job;
        }
        directory = files->directory;
    } else if (!context.directories.empty()) {
        directory = existing_part_of(absolute_path(context.directories.front()));
    } else {
        throw Refusal("no directory to examine (give one with --dir)");
    }

    Outcome outcome = done;
    std::string text;
    for (const Finding& finding : Doctor(*directory, context.observer).examine()) {
        if (finding.may_end_in_unknown) outcome = Outcome::failed;
        if (options.json)
            text += (text.empty() ? "[" : ",\n") + json_of(finding);
        else
            text += line_of(finding);
    }
    print(options.json ? text + "]\n" : text);
    return outcome;
}

}  // namespace jobshim
