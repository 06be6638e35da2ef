#include "integration/attackers.hpp"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "integration/companion.hpp"
#include "integration/support/error.hpp"

namespace harness {
namespace {

/// A number in a line of /proc/PID/status, in the given base; -1 if there is none.
long long status_number(const std::string& status, const std::string& key, int base) {
    const auto at = status.find("\n" + key + ":");
    if (at == std::string::npos) return -1;
    return std::strtoll(status.c_str() + at + key.size() + 2, nullptr, base);
}

std::string status_of(pid_t pid) { return slurp("/proc/" + std::to_string(pid) + "/status"); }

void kill_and_reap(pid_t pid) {
    if (pid <= 0) return;
    ::kill(pid, SIGKILL);
    // Another wait may have reaped it by then.
    (void)wait_until([&] { return end_of(pid) || !alive(pid); });
}

/// Test names may hold any character.
std::string file_name_from(std::string text) {
    std::replace(text.begin(), text.end(), '/', '-');
    return text.substr(0, 200);
}

}  // namespace

void become_user(uid_t user) {
    must(setgroups(0, nullptr), "setgroups");
    must(setresgid(user, user, user), "setresgid");
    must(setresuid(user, user, user), "setresuid");
}

Acting::Acting(uid_t user) {
    checked(setgroups(0, nullptr), "setgroups");
    checked(setegid(user), "setegid");
    checked(seteuid(user), "seteuid");
}

Acting::~Acting() {
    if (seteuid(0) != 0 || setegid(0) != 0) std::abort();
}

Attacker::Attacker(uid_t user, const Action& prepare, const Action& go_on) {
    Pipe ready;
    pid_ = checked(fork(), "fork");
    if (pid_ == 0) {
        // Nothing may go on with the test in here.
        try {
            become_user(user);
            must(prctl(PR_SET_PDEATHSIG, SIGKILL), "PR_SET_PDEATHSIG");
            if (prepare) prepare();
            must(write(ready.write.get(), "", 1), "write");
            if (go_on) go_on();
            for (;;) pause();
        } catch (...) {
            _exit(99);
        }
    }
    forget_status(pid_);
    ready.write.close();
    char byte = 0;
    if (read(ready.read.get(), &byte, 1) != 1) FAIL("the attacker could not prepare its attack");
}

Attacker::~Attacker() { kill_and_reap(pid_); }

void exchange(const fs::path& one, const fs::path& other) {
    checked(renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE),
            "exchange " + one.string() + " and " + other.string());
}

Attacker::Action lock_bytes(const fs::path& file, short type, off_t first, off_t count) {
    return [=] {
        // Stays open for as long as the process lives.
        const int fd = open(file.c_str(), type == F_RDLCK ? O_RDONLY : O_RDWR);
        must(fd, "open");
        struct flock lock {};
        lock.l_type = type;
        lock.l_whence = SEEK_SET;
        lock.l_start = first;
        lock.l_len = count;
        must(fcntl(fd, F_SETLK, &lock), "lock");
    };
}

void start_limited(uid_t user) {
    // An attack that works must not take the whole machine's memory: what a program writes to its
    // stdout is kept in memory too.
    const rlimit written{most_written, most_written}, memory{most_memory, most_memory};
    must(setrlimit(RLIMIT_FSIZE, &written), "RLIMIT_FSIZE");
    // The sanitizers reserve more address space than any machine has memory.
    if (!is_sanitized()) must(setrlimit(RLIMIT_AS, &memory), "RLIMIT_AS");
    if (user != root) become_user(user);
}

void block_all_signals() {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, nullptr);
}

bool is_unharmed(pid_t pid) {
    const auto status = status_of(pid);
    return alive(pid) && status_number(status, "ShdPnd", 16) == 0 &&
           status_number(status, "SigPnd", 16) == 0;
}

std::map<std::string, std::string> everything_in(const fs::path& directory) {
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(directory)) {
        struct stat info {};
        if (lstat(entry.path().c_str(), &info) != 0) continue;
        std::ostringstream text;
        text << "inode " << info.st_ino << " of " << info.st_uid << ", mode " << std::oct
             << info.st_mode << ": ";
        if (S_ISREG(info.st_mode) && info.st_size < (1 << 20U)) text << slurp(entry.path());
        if (S_ISLNK(info.st_mode)) text << fs::read_symlink(entry.path());
        found[entry.path().lexically_relative(directory)] = text.str();
    }
    return found;
}

Words owned_by(uid_t user, const fs::path& directory) {
    Words names;
    for (const auto& entry : fs::recursive_directory_iterator(directory)) {
        struct stat info {};
        if (lstat(entry.path().c_str(), &info) == 0 && info.st_uid == user)
            names.push_back(entry.path().lexically_relative(directory));
    }
    std::sort(names.begin(), names.end());
    return names;
}

bool found_below(const fs::path& directory, const std::string& text) {
    for (const auto& entry : fs::recursive_directory_iterator(directory))
        if (entry.is_regular_file() && !entry.is_symlink() && contains(slurp(entry.path()), text))
            return true;
    return false;
}

Setting::Setting(const std::string& name, const std::string& value)
    : file_("/proc/sys/" + name), before_(slurp(file_)) {
    if (before_.empty() || access(file_.c_str(), W_OK) != 0) return;
    // A test that is killed must not leave the machine changed.
    guardian_ = checked(fork(), "fork");
    if (guardian_ == 0) {
        block_all_signals();
        alive_.write.close();
        char byte = 0;
        while (read(alive_.read.get(), &byte, 1) < 0) {
        }
        try {
            put(file_, before_);
        } catch (...) {
            _exit(99);
        }
        _exit(0);
    }
    forget_status(guardian_);
    // No process that is started meanwhile may keep this end open.
    fcntl(alive_.write.get(), F_SETFD, FD_CLOEXEC);
    try {
        put(file_, value);
        is_set_ = slurp(file_) == value + "\n";
    } catch (const std::exception&) {
        is_set_ = false;
    }
}

Setting::~Setting() {
    if (guardian_ < 0) return;
    try {
        put(file_, before_);
    } catch (const std::exception&) {
        // Then it could not be changed either.
    }
    kill_and_reap(guardian_);
}

Seen watch(Process& process, Milliseconds limit, long most_kib) {
    Seen seen;
    const bool ended = wait_until(
        [&] {
            const auto peak = status_number(status_of(process.pid()), "VmHWM", 10);
            seen.peak_kib = std::max(seen.peak_kib, static_cast<long>(peak));
            return !process.running() || seen.peak_kib > most_kib;
        },
        limit);
    seen.hung = !ended;
    if (process.running()) process.kill(SIGKILL);
    static_cast<Result&>(seen) = process.wait();
    return seen;
}

Attacked::Attacked()
    : a(dir / "a"),
      b(dir / "b"),
      sticky(dir / "sticky"),
      open_(dir / "open"),
      precious(dir / "precious"),
      home_of_root(dir / "root"),
      matrix_("attacks", file_name_from(Catch::getResultCapture().getCurrentTestName())) {
    if (!why_not().empty()) return;
    shim_program = public_copy(jobshim);
    ctl_program = public_copy(jobctl);
    await_program = public_copy(AWAIT_BIN);
    make_directory(a, user_a, 0755);
    make_directory(b, user_b, 0755);
    make_directory(sticky, root, 01777);
    make_directory(open_, root, 0777);
    make_directory(precious, root, 0755);
    make_directory(home_of_root, root, 0700);
    for (const uid_t user : {user_a, user_b})
        make_directory(dir / ("state-" + std::to_string(user)), user, 0700);
}

std::string Attacked::why_not() {
    if (geteuid() != 0) return "needs root, to be other users";
    if (!child_can([] { become_user(user_b); })) return "cannot become other users here";
    return "";
}

Options Attacked::as(uid_t user, Milliseconds limit) const {
    Options options{.env = {{"HOME", user == user_a   ? a
                                     : user == user_b ? b
                                                      : home_of_root},
                            {"XDG_RUNTIME_DIR", ""}},
                    .cwd = dir,
                    .before_exec = [user] { start_limited(user); },
                    .limit = limit};
    if (user != root) options.env["XDG_STATE_HOME"] = dir / ("state-" + std::to_string(user));
    return options;
}

Process Attacked::begin(uid_t user, const Words& argv) { return spawn(argv, as(user)); }

Seen Attacked::play(uid_t user, const Words& argv, Milliseconds limit) {
    auto process = begin(user, argv);
    return watch(process, limit);
}

Seen Attacked::play_shim(uid_t user, const Words& arguments, Milliseconds limit) {
    Words argv{shim_program};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return play(user, argv, limit);
}

Seen Attacked::play_ctl(uid_t user, const Words& arguments, Milliseconds limit) {
    Words argv{ctl_program};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return play(user, argv, limit);
}

Seen Attacked::play_cancel(uid_t user, const fs::path& file, Milliseconds limit) {
    const auto seen = play_ctl(user, {"cancel", file, "--timeout", "2s"}, limit);
    return seen.ended() == "exit 2" ? play_ctl(user, {"cancel", file}, limit) : seen;
}

Process Attacked::stranger(uid_t user) {
    auto options = as(user);
    options.before_exec = [user] {
        start_limited(user);
        block_all_signals();
    };
    return spawn({await_program}, options);
}

fs::path Attacked::make_directory(const fs::path& where, uid_t owner, mode_t mode) const {
    fs::create_directories(where);
    checked(chown(where.c_str(), owner, owner), where);
    checked(chmod(where.c_str(), mode), where);
    return where;
}

void Attacked::make_file(const fs::path& where, uid_t owner, mode_t mode,
                         const std::string& content) {
    put(where, content);
    checked(chown(where.c_str(), owner, owner), where);
    checked(chmod(where.c_str(), mode), where);
}

void Attacked::make_link(const fs::path& where, uid_t owner, const fs::path& target) {
    const Acting acting(owner);
    fs::create_symlink(target, where);
}

void Attacked::make_genuine() {
    if (!genuine_.is_null()) return;
    const auto file = make_directory(dir / "genuine", root, 0700) / "job.json";
    put(file, "{}");  // so that its heartbeat file stays
    run_job(file, "true", {"--on-shim-death", "kill"});
    genuine_ = read_json(file);
    // The order of the keys tells that such a file is jobshim's.
    genuine_beat_ = lines_of(slurp(heartbeat_of(file)));
    REQUIRE(genuine_beat_.size() == 3);
}

Json Attacked::record_of_dead_job(const std::string& id) {
    make_genuine();
    auto record = genuine_;
    record.update({{"id", id},
                   {"title", id},
                   {"status", "running"},
                   {"phase", "running"},
                   // Not before it is written to the disk, however long that takes.
                   {"updatedAt", iso_now(-1h)},
                   {"completedAt", nullptr}});
    record["jobshim"]["exit"] = nullptr;
    return record;
}

Json Attacked::record_of_old_job(const std::string& id) {
    make_genuine();
    auto record = genuine_;
    record.update({{"id", id}, {"title", id}, {"completedAt", "2020-01-01T00:00:00.000Z"}});
    return record;
}

std::string Attacked::heartbeat(const fs::path& file, const Json& shim, const Json& worker,
                                bool with_end) {
    make_genuine();
    using Ordered = nlohmann::ordered_json;
    auto first = Ordered::parse(genuine_beat_[0].get<std::string>());
    first["jobshim"]["shim"] = Ordered::parse(shim.dump());
    first["job"] = file.string();
    auto text = first.dump() + "\n";
    if (!worker.is_null()) text += Json{{"worker", worker}}.dump() + "\n";
    if (with_end) text += genuine_beat_[2].get<std::string>() + "\n";
    return text;
}

Json Attacked::identity_of(pid_t pid) {
    make_genuine();
    auto shim = genuine_["jobshim"]["shim"];
    shim["pid"] = pid;
    shim["startTime"] = start_time_of(pid);
    return shim;
}

Json Attacked::worker_identity_of(pid_t pid) {
    return {{"pid", pid},
            {"startTime", start_time_of(pid)},
            {"group", "own"},
            {"session", process_stat(pid).session}};
}

void Attacked::judge(const std::string& attack, bool harmless, ReportedOutcome kept) {
    matrix_.count(attack, harmless ? kept : ReportedOutcome::lie);
    INFO(attack);
    CHECK(harmless);
}

std::string said(const Seen& seen) {
    auto text = seen.out.substr(0, 4000) + seen.err.substr(0, 4000);
    std::replace_if(
        text.begin(), text.end(), [](unsigned char c) { return c < ' ' && c != '\n'; }, '?');
    return seen.ended() + (seen.hung ? " (killed: it hung)" : "") + ", " +
           std::to_string(seen.wall.count()) + " ms, " + std::to_string(seen.peak_kib) + " KiB\n" +
           text;
}

std::string as_ascii(const Json& text) {
    return text.dump(-1, ' ', true, Json::error_handler_t::replace);
}

bool names_uid(const Seen& seen, uid_t user) {
    return contains(seen.err, "uid " + std::to_string(user)) ||
           contains(seen.out, "uid " + std::to_string(user));
}

bool is_refused(const Seen& seen, uid_t because_of, const fs::path& file) {
    return seen.ended() == "exit 125" &&
           (names_uid(seen, because_of) || contains(seen.err, file.filename().string()));
}

std::string state_in(const Seen& seen) {
    const auto shown = Json::parse(seen.out, nullptr, false);
    return shown.is_array() && !shown.empty() ? at(shown, "/0/verdict/state").get<std::string>()
                                              : "";
}

pid_t dead_pid() {
    const pid_t pid = fork();
    if (pid == 0) _exit(0);
    REQUIRE(pid > 0);  // a record that names -1 would be another attack
    (void)wait_until([&] { return end_of(pid).has_value(); });
    return pid;
}

void squat(const fs::path& where, Squat how) {
    const Acting acting(user_b);
    switch (how) {
        case Squat::file:
            put(where, "B was here\n");
            break;
        case Squat::directory:
            fs::create_directory(where);
            break;
        case Squat::full_directory:
            fs::create_directory(where);
            put(where / "inside", "B was here\n");
            break;
        case Squat::fifo:
            REQUIRE(mkfifo(where.c_str(), 0666) == 0);
            break;
        case Squat::link:
            fs::create_symlink("/nonexistent/target", where);
            break;
    }
}

Words survey_of(const Words& command, const fs::path& directory) {
    Words words = command;
    words.insert(words.end(), {"--dir", directory});
    return words;
}

Words filled_in(Words words, const Attacked& box, const fs::path& jobs) {
    for (auto& word : words) {
        if (word == "JOB") word = jobs / "job.json";
        if (word == "DIR") word = jobs;
    }
    words[0] = words[0] == "jobshim" ? box.shim_program : box.ctl_program;
    return words;
}

}  // namespace harness
