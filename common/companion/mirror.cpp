#include "common/companion/mirror.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/clocks.hpp"
#include "common/companion/index.hpp"
#include "common/companion/look.hpp"
#include "common/job_files.hpp"
#include "common/posix_error.hpp"
#include "common/torn_file.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds tick{5};
constexpr milliseconds lock_patience{10'000};
constexpr milliseconds check_interval{100};
constexpr milliseconds check_for{3000};
constexpr milliseconds check_at_most{30'000};

// Serializes everything that writes for jobshim in this directory.
class DirectoryLock {
public:
    explicit DirectoryLock(const CompanionPaths& paths) {
        make_directories(paths.own);
        const std::string path = path_in(paths.own, ".turn");
        fd_.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
        if (!fd_) throw_errno("open " + path);
        const auto deadline = monotonic_now() + lock_patience;
        while (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK && errno != EINTR) throw_errno("lock " + path);
            if (monotonic_now() >= deadline)
                throw Refusal(path + ": is still locked by another process");
            pause_for(tick);
        }
    }

private:
    UniqueFd fd_;
};

// Reads what a swap displaced to `fresh`. The file may have been truncated and be about to be
// written by a process that had it open. If that process opens it again instead, it gets our
// version, and nothing more comes here.
std::optional<TheirFile> read_displaced(const std::string& fresh, const std::string& path,
                                        const FileStamp& ours, milliseconds patience) {
    auto displaced = read_theirs(fresh, milliseconds(0));
    TornPatience left(patience);
    while (displaced && !displaced->whole && !left.is_over() && is_unchanged(path, ours)) {
        left.pause();
        displaced = read_theirs(fresh, milliseconds(0));
    }
    return displaced;
}

// Returns what should replace `text`, which may be torn; nothing to leave it.
using TheirEdit = std::function<std::optional<std::string>(const TheirFile&)>;

// Replaces the file with the edited text. What others write meanwhile is not lost, but edited too.
// True if the file was changed.
bool swap_theirs(const std::string& path, const std::string& fresh, const TheirEdit& edit) {
    auto base = read_theirs(path, torn_companion_patience);
    bool wrote = false;
    const auto deadline = monotonic_now() + 2 * torn_companion_patience;
    while (base && monotonic_now() < deadline) {
        const std::string text = edit(*base).value_or(base->text);
        if (text == base->text && !base->has_trailing_text) break;
        StagedFile staged(fresh, base->stamp);
        staged.write(text);
        // Cheaper than undoing a swap, and the only check where files cannot be exchanged.
        if (!is_unchanged(path, base->stamp)) {
            base = read_theirs(path, torn_companion_patience);
            continue;
        }
        if (staged.commit_by_exchange(path) != StagedFile::Commit::exchanged)
            return wrote || stamp_at(path).has_value();
        wrote = true;
        const FileStamp ours = stamp_of(staged.descriptor(), path);
        const auto displaced = read_displaced(
            fresh, path, ours, base->whole ? torn_companion_patience : milliseconds(0));
        const bool was_raced = displaced && displaced->whole && displaced->text != base->text;
        if (was_raced && is_unchanged(path, ours)) {
            base = TheirFile{displaced->text, ours, true};
            staged.remove();
            continue;
        }
        // Text that stayed torn is kept, where the plugin does not see it.
        const bool was_torn = !base->whole || base->has_trailing_text;
        if (!was_torn || base->text.empty() ||
            !rename_to_free_name(fresh, fresh + "-torn-" + std::to_string(wall_now_ms())))
            staged.remove();
        // If somebody has written it again since, that is the latest version: go on from there.
        if (is_unchanged(path, ours)) break;
        base = read_theirs(path, torn_companion_patience);
    }
    return wrote;
}

bool same(const std::optional<FileStamp>& a, const std::optional<FileStamp>& b) {
    return a.has_value() == b.has_value() && (!a || a->unchanged(*b));
}

}  // namespace

CompanionMirror::CompanionMirror(CompanionPaths paths, Job job)
    : paths_(std::move(paths)), job_(std::move(job)) {}

bool CompanionMirror::is_due() const {
    return !same(file_stamp_, stamp_if_known(paths_.job_file(job_.id))) ||
           !same(index_stamp_, stamp_if_known(paths_.index));
}

bool CompanionMirror::step() {
    const DirectoryLock lock(paths_);
    file_stamp_ = stamp_if_known(paths_.job_file(job_.id));
    index_stamp_ = stamp_if_known(paths_.index);
    CompanionView view = look_at_companion(paths_, job_.id, torn_companion_patience);
    view.cancelled_in_log = log_says_cancelled(paths_, job_.id, job_.since);
    const CompanionRemedy remedy = remedy_for(view, job_.last.status);
    bool wrote = false;
    if (remedy.file) wrote = change_file(remedy, view);
    if (remedy.entry) wrote = change_index(remedy, view) || wrote;
    const TheirEdit as_it_is = [](const TheirFile&) { return std::nullopt; };
    if (remedy.mend_file)
        wrote = swap_theirs(paths_.job_file(job_.id), fresh_file(), as_it_is) || wrote;
    if (remedy.mend_index) wrote = swap_theirs(paths_.index, fresh_index(), as_it_is) || wrote;
    if (!wrote) return false;
    has_written_ = true;
    if (remedy.status)
        append_to_log(*remedy.status == job_.last.status ? companion_sentence(job_.last, "")
                                                         : std::string());
    file_stamp_ = stamp_if_known(paths_.job_file(job_.id));
    index_stamp_ = stamp_if_known(paths_.index);
    return true;
}

std::string CompanionMirror::fresh_file() const {
    return path_in(paths_.own, "." + job_.id + ".mirror");
}

std::string CompanionMirror::fresh_index() const { return path_in(paths_.own, ".state.mirror"); }

bool CompanionMirror::change_file(const CompanionRemedy& remedy, const CompanionView& view) {
    auto members = final_file_members(remedy, view, job_.last, iso_time(wall_now_ms()));
    if (job_.add_exit) {
        RunRecord run;
        run.exit = job_.last.exit;
        members.push_back({"jobshim", run_text(run)});
    }
    return swap_theirs(paths_.job_file(job_.id), fresh_file(),
                       [&](const TheirFile& theirs) -> std::optional<std::string> {
                           if (!theirs.whole) {
                               if (!view.entry) return std::nullopt;
                               return JobDocument::parse(as_job_file(*view.entry)).with(members);
                           }
                           const JobDocument job = JobDocument::parse(theirs.text);
                           if (is_final(job.status())) return std::nullopt;
                           return job.with(members);
                       });
}

bool CompanionMirror::change_index(const CompanionRemedy& remedy, const CompanionView& view) {
    const auto members = final_members(remedy, view, job_.last, iso_time(wall_now_ms()));
    return swap_theirs(
        paths_.index, fresh_index(), [&](const TheirFile& theirs) -> std::optional<std::string> {
            const auto index = theirs.whole ? CompanionIndex::parse(theirs.text) : std::nullopt;
            if (!index) return std::nullopt;
            if (const auto entry = index->find(job_.id)) {
                if (is_final(entry->status())) return std::nullopt;
                return index->with(job_.id, entry->with(members));
            }
            // To remove a job from the index, the plugin removes its file first. While the file is
            // there, the entry was lost, not removed.
            if (!view.job || !stamp_at(paths_.job_file(job_.id))) return std::nullopt;
            return index->with_first(as_entry(JobDocument::parse(view.job->with(members))));
        });
}

// The plugin's status command shows the last lines of the log. Uses only the log that the plugin
// itself would use, wherever a record says it is, and does not recreate one that was removed.
void CompanionMirror::append_to_log(const std::string& sentence) {
    if (sentence.empty() || std::exchange(has_logged_, true)) return;
    const std::string path = paths_.log_file(job_.id);
    const UniqueFd log(
        ::open(path.c_str(), O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!log) return;
    struct stat info {};
    if (::fstat(log.get(), &info) != 0 || !S_ISREG(info.st_mode)) return;
    char last = '\n';
    if (info.st_size > 0) (void)!::pread(log.get(), &last, 1, info.st_size - 1);
    const std::string line = std::string(last == '\n' ? "" : "\n") + "[" + iso_time(wall_now_ms()) +
                             "] " + printable(sentence) + "\n";
    // Failing to log a line is no reason to fail.
    (void)!::write(log.get(), line.data(), line.size());
}

void keep_in_step(std::vector<CompanionMirror>& mirrors, bool keep_checking,
                  const std::function<void(const std::string&)>& complain) {
    const auto began = monotonic_now();
    std::optional<std::chrono::nanoseconds> until;
    if (keep_checking) until = began + check_for;
    struct Trouble {
        bool is_reported = false;
        bool is_there = true;  // so that each job gets a first look
    };
    std::vector<Trouble> troubles(mirrors.size());
    bool is_first = true;
    do {
        if (!std::exchange(is_first, false)) pause_for(check_interval);
        for (std::size_t i = 0; i < mirrors.size(); ++i) {
            if (!troubles[i].is_there && !mirrors[i].is_due()) continue;
            troubles[i].is_there = false;
            try {
                if (mirrors[i].step()) until = monotonic_now() + check_for;
            } catch (const std::exception& error) {
                if (!troubles[i].is_reported) {
                    complain(error.what());
                    until = monotonic_now() + check_for;
                }
                troubles[i] = {true, true};
            }
        }
    } while (until && monotonic_now() < std::min(*until, began + check_at_most));
}

}  // namespace jobshim
