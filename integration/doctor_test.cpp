// jobctl doctor: what this host can prove, by trying it rather than looking it up; and an exit
// status that says whether a job could end in unknown.

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>

#include "integration/mounts.hpp"
#include "integration/strace.hpp"
#include "integration/support.hpp"
#include "integration/verdicts.hpp"

using namespace harness;

namespace {

const Words all_names{
    "locks",       "exchange",   "reservation",   "flushing",   "file system", "start times",
    "other users", "pidfds",     "exit statuses", "boot id",    "machine id",  "pid namespace",
    "oom counter", "kernel log", "inotify",       "core dumps", "clock",       "set-uid workers"};

class Doctor : public Sandbox {
public:
    Doctor() { fs::create_directory(jobs); }

    const fs::path jobs = dir / "jobs";

    Json findings(const Words& prefix = {}, const Options& options = {},
                  const std::string& program = jobctl) {
        Words argv = prefix;
        argv.insert(argv.end(), {program, "doctor", "--json", "--dir", jobs});
        result = run(argv, options);
        INFO(result.out << result.err);
        const auto found = Json::parse(result.out, nullptr, false);
        REQUIRE(found.is_array());
        CHECK(names_in(jobs, "") == left);
        return found;
    }
    static Json find(const Json& findings, const std::string& what) {
        for (const auto& finding : findings)
            if (at(finding, "/what") == what) return finding;
        return {};
    }
    /// Names of the findings that mean a job may end in unknown.
    static Words fatal_findings(const Json& findings) {
        Words names;
        for (const auto& finding : findings)
            if (at(finding, "/mayEndInUnknown") == true)
                names.push_back(at(finding, "/what").get<std::string>());
        return names;
    }
    bool is_sound_host() { return fatal_findings(findings()).empty(); }

    Result result;
    Words left;  ///< what the directory holds before and after
};

}  // namespace

TEST_CASE_METHOD(Doctor, "doctor reports each ability on one line and leaves no file",
                 "[quick][libc]") {
    const auto found = findings();
    Words names;
    for (const auto& finding : found) {
        names.push_back(at(finding, "/what").get<std::string>());
        CHECK(at(finding, "/works").is_boolean());
        CHECK_FALSE(at(finding, "/because").get<std::string>().empty());
        CHECK_FALSE((at(finding, "/works") == true && at(finding, "/mayEndInUnknown") == true));
    }
    CHECK(names == all_names);
    CHECK(result.code() == (fatal_findings(found).empty() ? 0 : 1));
    for (const char* name : {"locks", "exchange", "flushing", "file system", "pidfds"})
        CHECK(at(find(found, name), "/works") == true);

    const auto text = ctl({"doctor", "--dir", jobs});
    CHECK(text.code() == result.code());
    CHECK(text.err.empty());
    const auto lines = lines_of(text.out);
    REQUIRE(lines.size() == all_names.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
        INFO(lines[i]);
        const bool works = at(found[i], "/works") == true;
        const bool unknown = at(found[i], "/mayEndInUnknown") == true;
        CHECK(lines[i].starts_with((works     ? "works     "
                                    : unknown ? "UNKNOWN   "
                                              : "missing   ") +
                                   all_names[i] + " "));
    }
    CHECK(names_in(jobs, "") == Words{});
}

TEST_CASE_METHOD(Doctor, "doctor checks the job's own directory or where it would be created") {
    put(jobs / "job.json", R"({"status":"queued"})");
    const auto of_job = ctl({"doctor", jobs / "job.json"});
    CHECK(contains(of_job.out, jobs.string() + " is local to this host"));
    CHECK(contains(ctl({"doctor", "--dir", jobs, "job"}).out, jobs.string()));
    CHECK(names_in(jobs, "") == Words{"job.json"});
    CHECK(ctl({"doctor", jobs / "none.json"}).ended() == "exit 4");
    CHECK(ctl({"doctor", "a", "b"}).ended() == "exit 2");
    const auto far = ctl({"doctor", "--dir", jobs / "not/yet"});
    CHECK(far.code() == of_job.code());
    CHECK(contains(far.out, jobs.string() + " is local to this host"));
    // The default directory, which does not exist yet either.
    CHECK(ctl({"doctor"}).code() == of_job.code());
    CHECK_FALSE(fs::exists(dir / "state/jobshim"));
}

TEST_CASE_METHOD(Doctor, "doctor reports what keeps a job's end from being known") {
    if (geteuid() != 0 || !child_can(enter_private_mounts)) SKIP_TEST("needs root, for namespaces");
    if (!in_path("strace") || !in_path("unshare")) SKIP_TEST("no strace or no unshare");
    // A container may not be sound to begin with: then there are just more findings.
    const auto before = fatal_findings(findings());
    const auto expect = [&](const std::string& what, const Words& prefix,
                            const std::function<void()>& before_exec = {},
                            const std::string& program = jobctl) {
        CAPTURE(what);
        Options options{.env = no_leak_check};
        options.before_exec = before_exec;
        const auto found = findings(prefix, options, program);
        const auto names = fatal_findings(found);
        CHECK(std::find(names.begin(), names.end(), what) != names.end());
        CHECK(at(find(found, what), "/works") == false);
        CHECK(result.ended() == "exit 1");
        return found;
    };
    const auto hide = [](const char* file, const fs::path& other) {
        return [=] {
            enter_private_mounts();
            must(mount(other.c_str(), file, nullptr, MS_BIND, nullptr), file);
        };
    };
    const auto empty = dir / "empty";
    put(empty, "");
    expect("pid namespace", {"unshare", "-pf", "--mount-proc", "--"});
    // A /proc of another pid namespace: it does not even show our own start time.
    expect("start times", {"unshare", "-pf", "--"});
    expect("start times", {}, [] {
        enter_private_mounts();
        must(umount2("/proc", MNT_DETACH), "umount /proc");
    });
    expect("boot id", {}, hide("/proc/sys/kernel/random/boot_id", empty));
    if (fs::exists("/etc/machine-id")) expect("machine id", {}, hide("/etc/machine-id", empty));
    expect(
        "other users", {},
        [] {
            enter_private_mounts();
            must(mount("proc", "/proc", "proc", 0, "hidepid=2"), "mount /proc");
            become_nobody();
        },
        public_copy(jobctl));
    const auto inject = [](const std::string& call, const std::string& fault) {
        return under_strace("/dev/null",
                            {"-f", "-e", "trace=" + call, "-e", "inject=" + call + fault}, {});
    };
    expect("locks", inject("fcntl", ":error=ENOLCK"));
    // f_type is the first word; this value is NFS's.
    expect("file system", inject("fstatfs", ":poke_exit=@arg2=69690000"));
    expect("directory", {}, become_nobody, public_copy(jobctl));
    // What costs something, but never the truth.
    const auto cheaper = [&](const std::string& what, const Words& prefix) {
        CAPTURE(what);
        const auto found = findings(prefix);
        CHECK(at(find(found, what), "/works") == false);
        CHECK(at(find(found, what), "/mayEndInUnknown") == false);
        CHECK(fatal_findings(found) == before);
    };
    cheaper("pidfds", inject("pidfd_open", ":error=ENOSYS"));
    cheaper("exchange", inject("renameat2", ":error=EINVAL"));
    cheaper("reservation", inject("fallocate", ":error=EOPNOTSUPP"));
    cheaper("flushing", inject("fsync", ":error=EIO"));
    cheaper("inotify", inject("inotify_init1", ":error=EMFILE"));
}

TEST_CASE_METHOD(Doctor, "doctor leaves no file on a full disk either") {
    if (const auto why = why_no_volume("tmpfs"); !why.empty()) SKIP_TEST(why);
    const Volume volume(jobs, "tmpfs", {1U << 20U, 0});
    use_up_space(volume.path() / "all");
    left = {"all"};
    const auto found = findings();
    CHECK(at(find(found, "reservation"), "/works") == false);
    CHECK(at(find(found, "locks"), "/works") == true);
    const auto read_only = read_only_over(jobs);
    CHECK(ctl({"doctor", "--dir", jobs}).ended() == "exit 1");
}
