#include "common/companion/mirror.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/atomic_file.hpp"
#include "common/clocks.hpp"
#include "common/companion/index.hpp"
#include "common/companion/last_word.hpp"
#include "common/companion/look.hpp"
#include "common/posix_error.hpp"
#include "common/torn_file.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds tick{5};
constexpr milliseconds lock_patience{2000};
constexpr milliseconds check_interval{100};
constexpr milliseconds check_for{3000};

// Serializes everything that writes for jobshim in this directory.
class DirectoryLock {
public:
    explicit DirectoryLock(const CompanionDirectory& state) {
        const Directory own = state.make_own();
        state.require_right_to(own.owner(), own.path());
        const std::string path = own.path_of(".turn");
        fd_ = own.open_file(".turn", O_RDWR | O_CREAT);
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
std::optional<TheirFile> read_displaced(const Directory& own, const std::string& fresh,
                                        const std::function<bool()>& ours_is_unchanged,
                                        milliseconds patience) {
    auto displaced = read_theirs(own, fresh, milliseconds(0));
    TornPatience left(patience);
    while (displaced && !displaced->whole && !left.is_over() && ours_is_unchanged()) {
        left.pause();
        displaced = read_theirs(own, fresh, milliseconds(0));
    }
    return displaced;
}

// Replaces the file with the edited text, written in our own subdirectory as `fresh`. What others
// write meanwhile is not lost, but edited too. True if the file was changed.
bool swap_theirs(const CompanionDirectory& state, const Directory& directory,
                 const std::string& name, const std::string& fresh, const TheirEdit& edit) {
    const Directory own = state.make_own();
    auto base = read_theirs(directory, name, torn_companion_patience);
    bool wrote = false;
    const auto deadline = monotonic_now() + 2 * torn_companion_patience;
    while (base && monotonic_now() < deadline) {
        const std::string text = edit(*base).value_or(base->text);
        if (text.size() > max_job_file_bytes)
            throw Refusal(directory.path_of(name) + ": " + would_be_too_large);
        if (text == base->text && !base->has_trailing_text) break;
        state.require_right_to(base->stamp.owner, directory.path_of(name));
        StagedFile staged(own, fresh, base->stamp);
        staged.write(text);
        // Cheaper than undoing a swap, and the only check where files cannot be exchanged.
        if (!directory.is_unchanged(name, base->stamp)) {
            base = read_theirs(directory, name, torn_companion_patience);
            continue;
        }
        if (staged.commit_by_exchange(directory, name) != StagedFile::Commit::exchanged)
            return wrote || directory.stamp_at(name).has_value();
        wrote = true;
        const FileStamp ours = stamp_of(staged.descriptor(), directory.path_of(name));
        const auto ours_is_unchanged = [&] { return directory.is_unchanged(name, ours); };
        const auto displaced =
            read_displaced(own, staged.name(), ours_is_unchanged,
                           base->whole ? torn_companion_patience : milliseconds(0));
        const bool was_raced = displaced && displaced->whole && displaced->text != base->text;
        if (was_raced && ours_is_unchanged()) {
            base = TheirFile{displaced->text, ours, true};
            staged.remove();
            continue;
        }
        // Text that stayed torn is kept, where the plugin does not see it.
        const bool was_torn = !base->whole || base->has_trailing_text;
        if (!was_torn || base->text.empty() ||
            !own.rename_to_free_name(staged.name(),
                                     fresh + "-torn-" + std::to_string(wall_now_ms())))
            staged.remove();
        // If somebody has written it again since, that is the latest version: go on from there.
        if (ours_is_unchanged()) break;
        base = read_theirs(directory, name, torn_companion_patience);
    }
    return wrote;
}

bool same(const std::optional<FileStamp>& a, const std::optional<FileStamp>& b) {
    return a.has_value() == b.has_value() && (!a || a->unchanged(*b));
}

}  // namespace

CompanionMirror::CompanionMirror(CompanionDirectory state, Job job)
    : state_(state.strictly()), job_(std::move(job)) {}

std::optional<FileStamp> CompanionMirror::stamp_of_file() const {
    const auto jobs = state_.jobs();
    return jobs ? jobs->stamp_if_known(CompanionDirectory::job_name(job_.id)) : std::nullopt;
}

std::optional<FileStamp> CompanionMirror::stamp_of_index() const {
    return state_.top().stamp_if_known(CompanionDirectory::index);
}

bool CompanionMirror::is_due() const {
    return !same(file_stamp_, stamp_of_file()) || !same(index_stamp_, stamp_of_index());
}

bool CompanionMirror::step() {
    state_.require_right_to(state_.parties().owner, state_.path());
    const DirectoryLock lock(state_);
    file_stamp_ = stamp_of_file();
    index_stamp_ = stamp_of_index();
    CompanionView view = look_at_companion(state_, job_.id, torn_companion_patience);
    view.cancelled_in_log = log_says_cancelled(state_, job_.id, job_.since);
    if (job_.own) keep_last_word(*job_.own, view);
    const CompanionRemedy remedy = remedy_for(view, job_.last.status);
    bool wrote = false;
    if (remedy.file) wrote = change_file(remedy, view);
    if (remedy.entry) wrote = change_index(remedy, view) || wrote;
    const TheirEdit as_it_is = [](const TheirFile&) { return std::nullopt; };
    if (remedy.mend_file) wrote = swap_file(as_it_is) || wrote;
    if (remedy.mend_index) wrote = swap_index(as_it_is) || wrote;
    if (!wrote) return false;
    has_written_ = true;
    if (remedy.status)
        append_to_log(*remedy.status == job_.last.status ? companion_sentence(job_.last, "")
                                                         : std::string());
    // The stamps stay those of before, so that the next step looks again: what is there now may be
    // what the plugin has written since.
    return true;
}

bool CompanionMirror::swap_file(const TheirEdit& edit) {
    const auto jobs = state_.jobs();
    return jobs &&
           swap_theirs(state_, *jobs, CompanionDirectory::job_name(job_.id), fresh_file(), edit);
}

bool CompanionMirror::swap_index(const TheirEdit& edit) {
    return swap_theirs(state_, state_.top(), CompanionDirectory::index, fresh_index(), edit);
}

bool CompanionMirror::change_file(const CompanionRemedy& remedy, const CompanionView& view) {
    auto members = final_file_members(remedy, view, job_.last, iso_time(wall_now_ms()));
    if (job_.add_exit) {
        RunRecord run;
        run.exit = job_.last.exit;
        members.push_back({"jobshim", run_text(run)});
    }
    return swap_file([&](const TheirFile& theirs) -> std::optional<std::string> {
        if (!theirs.whole) {
            if (!view.entry) return std::nullopt;
            return JobDocument::parse(as_job_file(*view.entry)).with(members);
        }
        const JobDocument job = in_our_words(JobDocument::parse(theirs.text));
        if (is_final(job.status())) return std::nullopt;
        return job.with(members);
    });
}

bool CompanionMirror::change_index(const CompanionRemedy& remedy, const CompanionView& view) {
    const auto members = final_members(remedy, view, job_.last, iso_time(wall_now_ms()));
    return swap_index([&](const TheirFile& theirs) -> std::optional<std::string> {
        const auto index = theirs.whole ? CompanionIndex::parse(theirs.text) : std::nullopt;
        if (!index) return std::nullopt;
        if (const auto entry = index->find(job_.id)) {
            if (is_final(in_our_words(*entry).status())) return std::nullopt;
            return index->with(job_.id, entry->with(members));
        }
        // To remove a job from the index, the plugin removes its file first. While the file is
        // there, the entry was lost, not removed.
        if (!view.job || !stamp_of_file()) return std::nullopt;
        return index->with_first(as_entry(JobDocument::parse(view.job->with(members))));
    });
}

// The plugin's status command shows the last lines of the log. Uses only the log that the plugin
// itself would use, wherever a record says it is, and does not recreate one that was removed.
void CompanionMirror::append_to_log(const std::string& sentence) {
    if (sentence.empty() || std::exchange(has_logged_, true)) return;
    const auto jobs = state_.jobs();
    const std::string name = CompanionDirectory::log_name(job_.id);
    const UniqueFd log = jobs ? jobs->open_file(name, O_RDWR | O_APPEND) : UniqueFd();
    if (!log) return;
    const FileStamp stamp = stamp_of(log.get(), jobs->path_of(name));
    if (!stamp.is_regular || stamp.owner != state_.parties().owner || stamp.names > 1) return;
    char last = '\n';
    if (stamp.size > 0) (void)!::pread(log.get(), &last, 1, stamp.size - 1);
    const std::string line = std::string(last == '\n' ? "" : "\n") + "[" + iso_time(wall_now_ms()) +
                             "] " + printable(sentence) + "\n";
    // Failing to log a line is no reason to fail.
    (void)!::write(log.get(), line.data(), line.size());
}

void keep_in_step(std::vector<CompanionMirror>& mirrors, KeepChecking keep_checking,
                  milliseconds at_most, const std::function<void(const std::string&)>& complain) {
    const auto began = monotonic_now();
    const auto last_moment = began + at_most;
    std::optional<std::chrono::nanoseconds> until;
    if (keep_checking == KeepChecking::always) until = began + check_for;
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
            if (monotonic_now() >= last_moment) {
                if (!mirrors[i].has_written() && !troubles[i].is_reported)
                    complain("there was no time for it");
                continue;
            }
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
    } while (keep_checking != KeepChecking::never && until &&
             monotonic_now() < std::min(*until, last_moment));
}

}  // namespace jobshim
