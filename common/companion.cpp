#include "common/companion.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <utility>

#include "common/clocks.hpp"
#include "common/job_files.hpp"
#include "common/json_text.hpp"
#include "common/posix_error.hpp"
#include "common/torn_file.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds torn_patience = torn_companion_patience;
constexpr milliseconds torn_tick{5};
constexpr milliseconds lock_patience{10'000};
constexpr milliseconds look_every{100};
constexpr milliseconds look_on_for{3000};
constexpr milliseconds look_on_at_most{30'000};
constexpr std::size_t log_limit = std::size_t{1} << 20U;
constexpr std::string_view cancelled_words = "Cancelled by user.";

Status status_in(const std::optional<JobDocument>& document) {
    return document ? document->status() : Status::none;
}

// Every line but the first moved by `columns` to the right, or to the left as far as it is blank.
// A JSON string holds no line feed, so no value changes.
std::string indented(std::string_view text, int columns) {
    std::string result;
    for (std::size_t at = 0; at < text.size(); ++at) {
        result += text[at];
        if (text[at] != '\n') continue;
        if (columns > 0) result.append(static_cast<std::size_t>(columns), ' ');
        for (int i = 0; i > columns && at + 1 < text.size() && text[at + 1] == ' '; --i) ++at;
    }
    return result;
}

constexpr int entry_depth = 4;

}  // namespace

CompanionPlaces::CompanionPlaces(const std::string& state_directory)
    : directory(state_directory),
      index(path_in(directory, "state.json")),
      jobs(path_in(directory, "jobs")),
      own(path_in(directory, "jobshim")) {}

std::string CompanionPlaces::job_file(std::string_view id) const {
    return path_in(jobs, std::string(id) + ".json");
}
std::string CompanionPlaces::log_file(std::string_view id) const {
    return path_in(jobs, std::string(id) + ".log");
}
std::string CompanionPlaces::own_record(std::string_view id) const {
    return path_in(own, std::string(id) + ".json");
}
std::string CompanionPlaces::own_stderr(std::string_view id) const {
    return path_in(own, std::string(id) + ".stderr");
}

bool is_companion_directory(const std::string& path) {
    for (const char* name : {"state.json", "jobs", "jobshim", "broker.json"}) {
        struct stat info {};
        if (::lstat(path_in(path, name).c_str(), &info) == 0) return true;
    }
    return false;
}

std::vector<std::string> companion_roots(const char* plugin_data, const char* tmpdir,
                                         const char* tmp, const char* temp) {
    std::vector<std::string> roots;
    if (plugin_data != nullptr && *plugin_data != '\0')
        roots.push_back(path_in(plugin_data, "state"));
    std::string folder = "/tmp";
    for (const char* candidate : {tmpdir, tmp, temp})
        if (candidate != nullptr && *candidate != '\0') {
            folder = candidate;
            break;
        }
    if (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
    roots.push_back(path_in(folder, "codex-companion"));
    return roots;
}

std::optional<CompanionIndex> CompanionIndex::parse(std::string text) {
    const JobDocument document = JobDocument::parse(text);
    if (document.fault() != JsonFault::none) return std::nullopt;
    CompanionIndex index;
    index.text_ = std::move(text);
    const auto list = document.value("jobs");
    if (!list || list->front() != '[') return index;
    const auto begin = static_cast<std::size_t>(list->data() - document.text().data());
    index.list_ = begin + 1;
    for (const JsonSpan& span : split_json_array(*list)) {
        const JobDocument entry =
            JobDocument::parse(std::string(list->substr(span.begin, span.end - span.begin)));
        if (entry.fault() != JsonFault::none) continue;
        index.entries_.push_back(
            {entry.string("id").value_or(""), begin + span.begin, begin + span.end});
    }
    return index;
}

std::vector<std::string> CompanionIndex::ids() const {
    std::vector<std::string> ids;
    for (const Entry& entry : entries_)
        if (is_job_id(entry.id)) ids.push_back(entry.id);
    return ids;
}

std::optional<JobDocument> CompanionIndex::find(std::string_view id) const {
    for (const Entry& entry : entries_)
        if (entry.id == id)
            return JobDocument::parse(text_.substr(entry.begin, entry.end - entry.begin));
    return std::nullopt;
}

std::optional<std::string> CompanionIndex::with(std::string_view id, std::string_view entry) const {
    for (const Entry& old : entries_)
        if (old.id == id) {
            std::string text = text_;
            return text.replace(old.begin, old.end - old.begin, entry);
        }
    return std::nullopt;
}

std::optional<std::string> CompanionIndex::with_first(std::string_view entry) const {
    if (!list_) return std::nullopt;
    const std::string gap = "\n" + std::string(entry_depth, ' ');
    std::string text = text_;
    if (text.find_first_not_of(" \t\r\n", *list_) == text.find(']', *list_))
        return text.insert(*list_, gap + std::string(entry) + "\n  ");
    return text.insert(*list_, gap + std::string(entry) + ",");
}

std::string as_entry(const JobDocument& job) {
    std::string text = job.without({"result", "rendered", "jobshim"});
    text.erase(text.find_last_of('}') + 1);
    text.erase(0, text.find('{'));
    return indented(text, entry_depth);
}

std::string as_job_file(const JobDocument& entry) {
    return indented(entry.text(), -entry_depth) + "\n";
}

bool says_cancelled(std::string_view log, std::int64_t since) {
    while (!log.empty()) {
        const std::size_t end = log.find('\n');
        // Half a line is none yet.
        if (end == std::string_view::npos) return false;
        const std::string_view line = log.substr(0, end);
        log.remove_prefix(end + 1);
        const std::size_t bracket = line.find("] ");
        if (!line.starts_with('[') || bracket == std::string_view::npos ||
            line.substr(bracket + 2) != cancelled_words)
            continue;
        const auto time = parse_iso_time(line.substr(1, bracket - 1));
        if (time && *time >= since) return true;
    }
    return false;
}

namespace {

CompanionRemedy remedy_for_words(const CompanionSight& sight, Status end) {
    const Status file = status_in(sight.job);
    const Status entry = status_in(sight.entry);
    if (!sight.file_exists) {
        // Gone from both, for whatever cause: nothing is brought back.
        if (!sight.entry || is_terminal(entry)) return {};
        return {.entry = true, .status = sight.cancelled_in_log ? Status::cancelled : end};
    }
    if (is_terminal(file)) {
        // Two final words that differ are not for us to choose from.
        if (!sight.index_is_whole || is_terminal(entry)) return {};
        return {.entry = true};
    }
    // A file that is torn and stays so can be made anew from its entry alone.
    if (!sight.job && !sight.entry) return {};
    // The index has a final word and the file has not: it is the plugin's, or ours from a moment
    // ago, before somebody undid the file.
    if (is_terminal(entry)) return {.file = true};
    return {.file = true,
            .entry = sight.index_is_whole,
            .status = sight.cancelled_in_log ? Status::cancelled : end};
}

}  // namespace

CompanionRemedy remedy_for(const CompanionSight& sight, Status end) {
    CompanionRemedy remedy = remedy_for_words(sight, end);
    remedy.mend_file = sight.file_has_remains && !remedy.file;
    remedy.mend_index = sight.index_has_remains && !remedy.entry;
    return remedy;
}

std::string companion_sentence(const FinalWord& last, const std::string& thread) {
    std::string sentence = last.sentence;
    for (const std::string_view verb : {"Killed ", "Exited ", "Ended "})
        if (sentence.starts_with(verb)) {
            sentence[0] = static_cast<char>(std::tolower(sentence[0]));
            sentence.insert(0, "Worker ");
            break;
        }
    if (!thread.empty())
        sentence += (sentence.empty() ? "" : " ") + ("Resume with thread " + thread) + ".";
    return sentence;
}

namespace {

// One after the other, of all who write for jobshim in this directory.
class Turn {
public:
    explicit Turn(const CompanionPlaces& places) {
        make_directories(places.own);
        const std::string path = path_in(places.own, ".turn");
        fd_.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
        if (!fd_) throw_errno("open " + path);
        const auto deadline = monotonic_now() + lock_patience;
        while (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK && errno != EINTR) throw_errno("lock " + path);
            if (monotonic_now() >= deadline) throw Refusal(path + ": stays locked by another");
            pause_for(torn_tick);
        }
    }

private:
    UniqueFd fd_;
};

TheirFile their_file(std::string text, FileStamp stamp) {
    const JsonScan scan = scan_json_object(text);
    TheirFile file{std::move(text), stamp, scan.fault == JsonFault::none};
    if (scan.fault != JsonFault::malformed || scan.close == 0 || file.text[scan.open] != '{')
        return file;
    file.whole = file.has_remains = true;
    file.text.resize(scan.close + 1);
    file.text += '\n';
    return file;
}

bool is_untouched(const std::string& path, const FileStamp& stamp) {
    const auto now = stamp_at(path);
    return now && now->unchanged(stamp);
}

// What is to stand in a file instead of `text`, which may be torn; nothing to leave it.
using TheirEdit = std::function<std::optional<std::string>(const TheirFile&)>;

// Puts the edited text in the place of what is there. Whatever others write meanwhile is not lost:
// it is edited in its turn. True if the file was changed.
bool swap_theirs(const std::string& path, const std::string& fresh, const TheirEdit& edit) {
    auto base = read_theirs(path, torn_patience);
    bool wrote = false;
    const auto deadline = monotonic_now() + 2 * torn_patience;
    while (base && monotonic_now() < deadline) {
        const std::string text = edit(*base).value_or(base->text);
        if (text == base->text && !base->has_remains) break;
        StagedFile staged(fresh, base->stamp);
        staged.write(text);
        // Cheaper than a swap that has to be taken back; and all there is where files cannot be
        // exchanged.
        if (!is_untouched(path, base->stamp)) {
            base = read_theirs(path, torn_patience);
            continue;
        }
        if (staged.arrive_in_exchange(path) != StagedFile::Arrival::exchanged)
            return wrote || stamp_at(path).has_value();
        wrote = true;
        const FileStamp ours = stamp_of(staged.descriptor(), path);
        std::optional<TheirFile> displaced = read_theirs(fresh, milliseconds(0));
        // Truncated, and about to be written by one who had it open. Or he opens it anew: then he
        // has our version, and no more comes.
        const auto torn_until = monotonic_now() + torn_patience;
        while (displaced && !displaced->whole && base->whole && monotonic_now() < torn_until &&
               is_untouched(path, ours)) {
            pause_for(torn_tick);
            displaced = read_theirs(fresh, milliseconds(0));
        }
        const bool was_raced = displaced && displaced->whole && displaced->text != base->text;
        if (was_raced && is_untouched(path, ours)) {
            base = TheirFile{displaced->text, ours, true};
            staged.remove();
            continue;
        }
        // What was torn for good is kept, out of the plugin's sight.
        const bool was_torn = !base->whole || base->has_remains;
        if (!was_torn || base->text.empty() ||
            !rename_to_free_name(fresh, fresh + "-torn-" + std::to_string(wall_now_ms())))
            staged.remove();
        // Written again since, from whatever: that is the latest.
        if (is_untouched(path, ours)) break;
        base = read_theirs(path, torn_patience);
    }
    return wrote;
}

std::string phase_of(Status status) {
    return std::string(status == Status::completed ? "done" : word(status));
}

std::optional<FileStamp> stamp_if_any(const std::string& path) {
    try {
        return stamp_at(path);
    } catch (const std::system_error&) {
        return std::nullopt;
    }
}

bool same(const std::optional<FileStamp>& a, const std::optional<FileStamp>& b) {
    return a.has_value() == b.has_value() && (!a || a->unchanged(*b));
}

bool log_says_cancelled(const CompanionPlaces& places, const std::string& id, std::int64_t since) {
    try {
        const UniqueFd log(::open(places.log_file(id).c_str(),
                                  O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
        if (!log) return false;
        const FileStamp stamp = stamp_of(log.get(), places.log_file(id));
        const auto limit = static_cast<off_t>(log_limit);
        return says_cancelled(read_from(log.get(), std::max<off_t>(0, stamp.size - limit),
                                        log_limit, places.log_file(id)),
                              since);
    } catch (const std::system_error&) {
        return false;
    }
}

}  // namespace

std::optional<TheirFile> read_theirs(const std::string& path, milliseconds patience) {
    TornPatience left(patience);
    for (;;) {
        auto contents = read_file(path, max_job_file_bytes);
        if (!contents) return std::nullopt;
        auto file = their_file(std::move(contents->text), contents->stamp);
        if (file.whole || left.is_over_for(path, file.stamp)) return file;
        left.pause();
    }
}

CompanionSight look_at_companion(const CompanionPlaces& places, const std::string& id,
                                 milliseconds patience) {
    CompanionSight sight;
    // The index first: the plugin removes a job's file before its entry.
    if (auto index = read_theirs(places.index, patience); index && index->whole) {
        sight.index_is_whole = true;
        sight.index_has_remains = index->has_remains;
        sight.entry = CompanionIndex::parse(std::move(index->text))->find(id);
    }
    if (auto file = read_theirs(places.job_file(id), patience)) {
        sight.file_exists = true;
        sight.file_has_remains = file->has_remains;
        if (file->whole) sight.job = JobDocument::parse(std::move(file->text));
    }
    return sight;
}

CompanionMirror::CompanionMirror(CompanionPlaces places, Job job)
    : places_(std::move(places)), job_(std::move(job)) {}

bool CompanionMirror::is_due() const {
    return !same(file_stamp_, stamp_if_any(places_.job_file(job_.id))) ||
           !same(index_stamp_, stamp_if_any(places_.index));
}

bool CompanionMirror::step() {
    const Turn turn(places_);
    file_stamp_ = stamp_if_any(places_.job_file(job_.id));
    index_stamp_ = stamp_if_any(places_.index);
    CompanionSight sight = look_at_companion(places_, job_.id, torn_patience);
    sight.cancelled_in_log = log_says_cancelled(places_, job_.id, job_.since);
    const CompanionRemedy remedy = remedy_for(sight, job_.last.status);
    bool wrote = false;
    if (remedy.file) wrote = change_file(remedy, sight);
    if (remedy.entry) wrote = change_index(remedy, sight) || wrote;
    const TheirEdit as_it_is = [](const TheirFile&) { return std::nullopt; };
    if (remedy.mend_file)
        wrote = swap_theirs(places_.job_file(job_.id), fresh_file(), as_it_is) || wrote;
    if (remedy.mend_index) wrote = swap_theirs(places_.index, fresh_index(), as_it_is) || wrote;
    if (!wrote) return false;
    has_written_ = true;
    if (remedy.status)
        append_to_log(*remedy.status == job_.last.status ? companion_sentence(job_.last, "")
                                                         : std::string());
    file_stamp_ = stamp_if_any(places_.job_file(job_.id));
    index_stamp_ = stamp_if_any(places_.index);
    return true;
}

std::string CompanionMirror::fresh_file() const {
    return path_in(places_.own, "." + job_.id + ".mirror");
}

std::string CompanionMirror::fresh_index() const { return path_in(places_.own, ".state.mirror"); }

std::vector<JobDocument::Member> CompanionMirror::final_members(const CompanionRemedy& remedy,
                                                                const CompanionSight& sight) const {
    const std::string now = iso_time(wall_now_ms());
    if (!remedy.status) {
        // In step with the one of the two that is final.
        const JobDocument& from = is_terminal(status_in(sight.job)) ? *sight.job : *sight.entry;
        std::vector<JobDocument::Member> members{
            {"status", json_string(word(from.status()))},
            {"phase", json_string(from.string("phase").value_or(phase_of(from.status())))},
            {"pid", "null"},
            {"updatedAt", json_string(now)},
            {"completedAt", json_string(from.string("completedAt").value_or(now))}};
        for (const char* key : {"errorMessage", "threadId", "turnId"})
            if (const auto value = from.value(key)) members.push_back({key, std::string(*value)});
        return members;
    }
    std::string thread;
    for (const auto* document : {&sight.job, &sight.entry})
        if (thread.empty() && *document) thread = (*document)->string("threadId").value_or("");
    const bool ours = *remedy.status == job_.last.status;
    const std::string sentence =
        ours ? companion_sentence(job_.last, thread) : std::string(cancelled_words);
    const std::string ended =
        ours && !job_.last.exit.ended_at.empty() ? job_.last.exit.ended_at : now;
    return {{"status", json_string(word(*remedy.status))},
            {"phase", json_string(phase_of(*remedy.status))},
            {"pid", "null"},
            {"updatedAt", json_string(now)},
            {"completedAt", json_string(ended)},
            {"errorMessage", sentence.empty() ? "null" : json_string(sentence)}};
}

bool CompanionMirror::change_file(const CompanionRemedy& remedy, const CompanionSight& sight) {
    auto members = final_members(remedy, sight);
    if (remedy.status == Status::cancelled) members.push_back({"cancelledAt", members[4].json});
    if (job_.add_exit) {
        RunRecord run;
        run.exit = job_.last.exit;
        members.push_back({"jobshim", run_text(run)});
    }
    return swap_theirs(places_.job_file(job_.id), fresh_file(),
                       [&](const TheirFile& theirs) -> std::optional<std::string> {
                           if (!theirs.whole) {
                               if (!sight.entry) return std::nullopt;
                               return JobDocument::parse(as_job_file(*sight.entry)).with(members);
                           }
                           const JobDocument job = JobDocument::parse(theirs.text);
                           if (is_terminal(job.status())) return std::nullopt;
                           return job.with(members);
                       });
}

bool CompanionMirror::change_index(const CompanionRemedy& remedy, const CompanionSight& sight) {
    const auto members = final_members(remedy, sight);
    return swap_theirs(
        places_.index, fresh_index(), [&](const TheirFile& theirs) -> std::optional<std::string> {
            const auto index = theirs.whole ? CompanionIndex::parse(theirs.text) : std::nullopt;
            if (!index) return std::nullopt;
            if (const auto entry = index->find(job_.id)) {
                if (is_terminal(entry->status())) return std::nullopt;
                return index->with(job_.id, entry->with(members));
            }
            // Whoever takes a job out of the index removes its file first. While that is there,
            // the entry was lost, and not taken out.
            if (!sight.job || !stamp_at(places_.job_file(job_.id))) return std::nullopt;
            return index->with_first(as_entry(JobDocument::parse(sight.job->with(members))));
        });
}

// The plugin's status shows the last lines of the log. Only the log where the plugin itself would
// have it, whatever a record says of its place; and one that was removed stays so.
void CompanionMirror::append_to_log(const std::string& sentence) {
    if (sentence.empty() || std::exchange(has_logged_, true)) return;
    const std::string path = places_.log_file(job_.id);
    const UniqueFd log(
        ::open(path.c_str(), O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!log) return;
    struct stat info {};
    if (::fstat(log.get(), &info) != 0 || !S_ISREG(info.st_mode)) return;
    char last = '\n';
    if (info.st_size > 0) (void)!::pread(log.get(), &last, 1, info.st_size - 1);
    const std::string line = std::string(last == '\n' ? "" : "\n") + "[" + iso_time(wall_now_ms()) +
                             "] " + printable(sentence) + "\n";
    // A line in a log is no reason to fail.
    (void)!::write(log.get(), line.data(), line.size());
}

void keep_in_step(std::vector<CompanionMirror>& mirrors, bool look_on,
                  const std::function<void(const std::string&)>& complain) {
    const auto began = monotonic_now();
    std::optional<std::chrono::nanoseconds> until;
    if (look_on) until = began + look_on_for;
    struct Trouble {
        bool is_told = false;
        bool is_there = true;  // so that each is looked at once
    };
    std::vector<Trouble> troubles(mirrors.size());
    bool is_first = true;
    do {
        if (!std::exchange(is_first, false)) pause_for(look_every);
        for (std::size_t i = 0; i < mirrors.size(); ++i) {
            if (!troubles[i].is_there && !mirrors[i].is_due()) continue;
            troubles[i].is_there = false;
            try {
                if (mirrors[i].step()) until = monotonic_now() + look_on_for;
            } catch (const std::exception& error) {
                if (!troubles[i].is_told) {
                    complain(error.what());
                    until = monotonic_now() + look_on_for;
                }
                troubles[i] = {true, true};
            }
        }
    } while (until && monotonic_now() < std::min(*until, began + look_on_at_most));
}

}  // namespace jobshim
