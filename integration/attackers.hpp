#pragma once

// Three users on one machine: root and A, who run the programs, and B, who may write to some of the
// directories and wants to harm the other two. Every user is played by a real process with that
// user's ids, so only root can play.

#include <sys/resource.h>
#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "integration/support.hpp"

namespace harness {

inline constexpr uid_t root = 0, user_a = 1000, user_b = 1001;

/// For before_exec: all ids become the user's, and no supplementary group is left.
void become_user(uid_t user);

/// The most that a program may write to one file, and its most memory, in bytes.
inline constexpr rlim_t most_written = 80 << 20U, most_memory = 2ULL << 30U;
/// For before_exec: all ids become the user's, within those limits.
void start_limited(uid_t user);

/// For the rest of the scope, whatever this process makes belongs to the user, and it may do no
/// more than the user.
class Acting {
public:
    explicit Acting(uid_t user);
    ~Acting();
    Acting(const Acting&) = delete;
    Acting& operator=(const Acting&) = delete;
};

/// A process of the user that never ends by itself: it prepares the attack, then goes on with it.
/// It is killed with this object, and if the test process dies.
class Attacker {
public:
    using Action = std::function<void()>;
    /// Returns once `prepare` is done. `go_on` must not return; the default just waits.
    explicit Attacker(uid_t user, const Action& prepare = {}, const Action& go_on = {});
    ~Attacker();
    Attacker(const Attacker&) = delete;
    Attacker& operator=(const Attacker&) = delete;
    pid_t pid() const { return pid_; }

private:
    pid_t pid_ = -1;
};

/// Exchanges two names, whatever they are.
void exchange(const fs::path& one, const fs::path& other);
/// For an Attacker: opens the file and locks `count` bytes from `first` on.
Attacker::Action lock_bytes(const fs::path& file, short type, off_t first, off_t count = 1);

/// For victims: blocks every signal, so that one that was sent can be seen to be pending.
void block_all_signals();
/// True if the process is alive and no signal has been sent to it since block_all_signals().
bool is_unharmed(pid_t pid);

/// Everything below a directory: by relative path, the type, inode, owner, mode and content.
/// Nothing is followed.
std::map<std::string, std::string> everything_in(const fs::path& directory);
/// The names below a directory that belong to the user.
Words owned_by(uid_t user, const fs::path& directory);
/// True if any regular file below the directory contains the text.
bool found_below(const fs::path& directory, const std::string& text);

/// Sets a kernel setting of the whole machine until this is destroyed, or the test process dies.
class Setting {
public:
    Setting(const std::string& name, const std::string& value);
    ~Setting();
    Setting(const Setting&) = delete;
    Setting& operator=(const Setting&) = delete;
    /// False if it cannot be set here.
    bool is_set() const { return is_set_; }

private:
    std::string file_, before_;
    Pipe alive_;
    pid_t guardian_ = -1;
    bool is_set_ = false;
};

/// What a run came to, if it was given so much time and no more.
struct Seen : Result {
    bool hung = false;  ///< it was killed for that
    long peak_kib = 0;  ///< its largest resident set
};
/// Waits for the end of a process. One that lasts longer, or grows beyond `most_kib`, is killed:
/// here that is a finding, not an accident.
Seen watch(Process& process, Milliseconds limit, long most_kib = 1L << 20U);

/// How an attack may come out, in the matrix.
constexpr auto refused = ReportedOutcome::refused;
constexpr auto true_end = ReportedOutcome::true_end;
constexpr auto is_lost = ReportedOutcome::lost;
constexpr auto is_unknown = ReportedOutcome::unknown;
constexpr auto no_job = ReportedOutcome::nothing;

inline const std::string secret = "the secret that only root may read";

/// What a program came to, for a message of the test.
std::string said(const Seen& seen);
/// Text of an attacker's, so that it can be printed.
std::string as_ascii(const Json& text);
/// True if the message says whose file it is about.
bool names_uid(const Seen& seen, uid_t user);
/// True if jobshim refused, and says which file or whose it is.
bool is_refused(const Seen& seen, uid_t because_of, const fs::path& file);
/// Of the first job in what --json printed; "" if there is none.
std::string state_in(const Seen& seen);
/// Of a process that has ended and been waited for.
pid_t dead_pid();

/// What B may make at a name that one of our files should get.
enum class Squat { file, directory, full_directory, fifo, link };
inline const std::vector<std::pair<std::string, Squat>> squats{
    {"file", Squat::file},
    {"directory", Squat::directory},
    {"full directory", Squat::full_directory},
    {"fifo", Squat::fifo},
    {"link", Squat::link}};
void squat(const fs::path& where, Squat how);
/// The names that jobshim uses beside job.json, but for the heartbeat file and the request.
inline const Words temporary_names{".job.json.jobshim-new", ".job.json.jobshim-merged",
                                   ".job.json.jobshim-reserve"};

/// A command that looks at all jobs, for this directory.
Words survey_of(const Words& command, const fs::path& directory);

/// The scene: directories of all three, programs that they all may execute, and genuine records to
/// forge others from.
class Attacked : public Sandbox {
public:
    Attacked();

    /// "" if the three users can be played here.
    static std::string why_not();

    /// Running as that user, with a state directory of its own.
    Options as(uid_t user, Milliseconds limit = 20s) const;
    Process begin(uid_t user, const Words& argv);
    /// Runs it to its end, or for `limit`.
    Seen play(uid_t user, const Words& argv, Milliseconds limit = 10s);
    Seen play_shim(uid_t user, const Words& arguments, Milliseconds limit = 10s);
    Seen play_ctl(uid_t user, const Words& arguments, Milliseconds limit = 10s);
    /// jobctl cancel, which may wait for two seconds (where it has that option) before it gives up.
    Seen play_cancel(uid_t user, const fs::path& job, Milliseconds limit = 6s);
    /// Some harmless process of the user, with all signals blocked.
    Process stranger(uid_t user);

    /// A new directory, of this owner and mode.
    fs::path make_directory(const fs::path& where, uid_t owner, mode_t mode) const;
    /// A new file, of this owner and mode.
    static void make_file(const fs::path& where, uid_t owner, mode_t mode,
                          const std::string& content);
    /// Links as the user does.
    static void make_link(const fs::path& where, uid_t owner, const fs::path& target);

    /// A record as jobshim writes it, but still running: its shim and its worker are dead.
    Json record_of_dead_job(const std::string& id);
    /// A record of a job that ended long ago.
    Json record_of_old_job(const std::string& id);
    /// The lines of a heartbeat file for this job file: the shim is `shim`, which may be edited.
    std::string heartbeat(const fs::path& job, const Json& shim, const Json& worker = nullptr,
                          bool with_end = false);
    /// The identity in the heartbeat file or in the record, of a process that is alive.
    Json identity_of(pid_t pid);
    Json worker_identity_of(pid_t pid);

    /// Counts the outcome, and checks that it is no lie.
    void judge(const std::string& attack, bool harmless, ReportedOutcome kept);

    const fs::path a, b;      ///< their own directories
    const fs::path sticky;    ///< as /tmp: everybody may write, and remove only what is his own
    const fs::path open_;     ///< everybody may write and remove
    const fs::path precious;  ///< root's, where nobody else may write
    const fs::path home_of_root;
    fs::path shim_program, ctl_program, await_program;

private:
    Json genuine_, genuine_beat_;
    void make_genuine();
    Matrix matrix_;
};

/// With JOB, DIR and the names of the programs replaced by what they stand for.
Words filled_in(Words words, const Attacked& box, const fs::path& jobs);

#define NEEDS_USERS() \
    if (const auto why = why_not(); !why.empty()) SKIP_TEST(why)

}  // namespace harness
