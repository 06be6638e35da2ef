// jobctl logs JOB: the bytes that this run wrote to its log; on a terminal, without control
// characters.
//
// Caveats: a log that was renamed (rotated) before this command started is not found. What another
// program appends to the same file cannot be distinguished from the worker's output.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "common/clocks.hpp"
#include "common/file_contents.hpp"
#include "common/posix_error.hpp"
#include "common/system_calls.hpp"
#include "common/units.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/job_watcher.hpp"
#include "shim/jobctl/log_place.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/selection.hpp"
#include "shim/jobctl/starting_shims.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

constexpr std::size_t block_size = std::size_t{64} << 10U;

// Which job the log belongs to, and whether the run is over.
struct Run {
    std::string job;
    bool is_over = false;
    std::optional<std::int64_t> ended_ms;  // if the shim saw the end
};

Run run_of(const JobWatcher& watcher) {
    Run run;
    run.job = report_of(watcher.files(), watcher.seen()).id;
    run.is_over = watcher.is_over();
    if (const auto end = end_of(watcher.seen())) run.ended_ms = parse_iso_time(end->ended_at);
    return run;
}

// Reads a log from where the run began.
class LogReader {
public:
    // What a record names is read only if it is a regular file of the job's owner's (or root's),
    // and with the owner's rights. Throws std::system_error or Refusal.
    LogReader(const RunRecord& run, const JobFiles& files)
        : name_(run.log->file), at_(run.log->offset) {
        const auto place = place_of_log(run, files);
        if (!place) throw_errno("open " + name_, ENOENT);
        name_ = place->path();
        if (!place->is_beside && !place->has_not_moved)
            complain(name_ + ": may be another job's: " + files.path +
                     " was moved since, or copied");
        {
            const ActingAs acting(files.owners_identity);
            if (acting) fd_ = place->directory.open_file(place->name, O_RDONLY);
            if (!fd_) throw_errno("open " + name_);
        }
        const FileStamp stamp = stamp_of(fd_.get(), name_);
        if (!stamp.is_regular) throw Refusal(name_ + ": not a regular file");
        if (!counts_for(files.owner(), stamp.owner))
            throw Refusal(name_ + ": belongs to uid " + std::to_string(stamp.owner) +
                          ", and the job to uid " + std::to_string(files.owner()));
        refuse_own_output();
    }

    // For a log that was truncated after the run began.
    void rewind_if_cut(const Run& run) {
        if (size() < at_) rewind_if_ours(run);
    }
    int descriptor() const { return fd_.get(); }

    void skip_to_last_lines(std::uint64_t lines);
    // Prints what there is. False if the reader of our output is gone.
    bool print_new();
    // To be called after the last byte.
    void finish() { print(filter_.rest()); }
    const std::string& name() const { return name_; }

private:
    // As cat does: what is copied to its own end never ends.
    void refuse_own_output() const {
        struct stat output {};
        const struct stat log = info();
        if (::fstat(STDOUT_FILENO, &output) == 0 && output.st_dev == log.st_dev &&
            output.st_ino == log.st_ino)
            throw Refusal(name_ + ": is standard output, too, and is not printed into itself");
    }
    struct stat info() const {
        struct stat info {};
        if (::fstat(fd_.get(), &info) != 0) throw_errno("stat " + name_);
        return info;
    }
    off_t size() const { return info().st_size; }
    std::size_t read_at(off_t at, char* buffer, std::size_t length) const;
    void rewind_if_ours(const Run& run);

    std::string name_;
    UniqueFd fd_;
    off_t at_;
    std::vector<char> block_ = std::vector<char>(block_size);  // too large for a small stack
    const bool is_terminal_ = ::isatty(STDOUT_FILENO) == 1;
    TerminalFilter filter_;
};

// The log was truncated after the run began. If that happened during the run, its present content
// is the run's.
void LogReader::rewind_if_ours(const Run& run) {
    const std::int64_t modified_ms = ns_of(mtime_of(info())) / 1'000'000;
    const bool during_the_run = !run.is_over || (run.ended_ms && modified_ms <= *run.ended_ms);
    complain(name_ + ": truncated since " + run.job + " began" +
             (during_the_run ? "; showing what was written after that"
                             : "; what is there now may not be from this run"));
    at_ = during_the_run ? 0 : size();
}

std::size_t LogReader::read_at(off_t at, char* buffer, std::size_t length) const {
    for (;;) {
        const ssize_t got = ::pread(fd_.get(), buffer, length, at);
        if (got >= 0) return static_cast<std::size_t>(got);
        if (errno != EINTR) throw_errno("read " + name_);
    }
}

void LogReader::skip_to_last_lines(std::uint64_t lines) {
    const off_t end = size();
    if (lines == 0) {
        at_ = std::max(at_, end);
        return;
    }
    // A file may have holes of any size.
    constexpr off_t most_searched = off_t{64} << 20U;
    off_t begin = end;
    while (begin > at_) {
        if (end - begin >= most_searched) {
            complain(name_ + ": its last lines are longer than 64 MiB; showing the end of them");
            at_ = begin;
            return;
        }
        const off_t from = std::max(at_, begin - static_cast<off_t>(block_.size()));
        const std::size_t got =
            read_at(from, block_.data(), static_cast<std::size_t>(begin - from));
        for (std::size_t i = got; i > 0; --i) {
            const off_t start = from + static_cast<off_t>(i);  // just after the character
            // The line feed at the very end ends the last line; it does not begin another.
            if (block_[i - 1] != '\n' || start == end) continue;
            if (lines-- == 1) {
                at_ = start;
                return;
            }
        }
        begin = from;
    }
}

bool LogReader::print_new() {
    if (size() < at_) {
        complain(name_ + ": truncated");
        at_ = 0;
    }
    while (const std::size_t got = read_at(at_, block_.data(), block_.size())) {
        try {
            const std::string_view bytes(block_.data(), got);
            if (is_terminal_)
                print(filter_.pass(bytes));
            else
                print(bytes);
        } catch (const std::system_error& error) {
            if (error.code().value() == EPIPE) return false;
            throw;
        }
        at_ += static_cast<off_t>(got);
    }
    return true;
}

// True if our output is a pipe whose reader is gone.
bool reader_is_gone() {
    pollfd output{STDOUT_FILENO, 0, 0};
    return ::poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLNVAL)) != 0;
}

std::optional<LogStart> log_of(const Observation& seen) {
    return seen.run ? seen.run->log : std::nullopt;
}

// The job has not been started yet, or is being started: a log may still appear.
bool may_get_a_log(const JobWatcher& watcher) {
    const State state = watcher.seen().now.verdict.state;
    return state == State::queued ||
           (!watcher.seen().now.run && outcome_of(state) == Outcome::active);
}

class Follower {
public:
    Follower(JobFiles files, const CtlOptions& options, const Context& context)
        : options_(options), context_(context), watcher_(std::move(files), watch_) {}

    Outcome run() {
        watcher_.look(context_, false);
        if (options_.follow) wait_for_new_run();
        for (;;) {
            // First check whether the run is over, then read the log: by then it holds all that the
            // run wrote.
            const bool last_time = !options_.follow || watcher_.is_over();
            open_if_present();
            if (log_ && !log_->print_new()) return done;
            const Observation& seen = watcher_.seen().now;
            if (!log_ && !seen.run && !seen.trouble.empty()) throw Refusal(seen.trouble);
            if (!log_ && (last_time || !may_get_a_log(watcher_))) {
                complain(options_.jobs.front() + ": this run keeps no log (see jobshim --log)");
                return Outcome::failed;
            }
            if (last_time && log_) log_->finish();
            if (last_time || reader_is_gone()) return done;
            sleep();
        }
    }

private:
    // A host that runs the same job again and follows it at once means the new run, not the one
    // whose end is still in the record. As in awaited_job_file.cpp.
    void wait_for_new_run() {
        if (!watcher_.is_over()) return;
        watcher_.watch_files();
        const auto& run = watcher_.seen().now.run;
        const ShimIdentity last = run ? run->shim : ShimIdentity{};
        const auto is_still_over = [&] {
            const Observation& seen = watcher_.look(context_, false).now;
            return watcher_.is_over() && (!seen.run || seen.run->shim == last);
        };
        const auto grace_ends = monotonic_now() + grace_time;
        StartingShims starting;
        do {
            std::vector<pollfd> descriptors{{watch_.descriptor(), POLLIN, 0}};
            for (const ProcessHandle& shim : starting.handles)
                descriptors.push_back({shim.get(), POLLIN, 0});
            poll_until(starting.handles.empty()
                           ? grace_ends
                           : std::min(starting.until, watcher_.look_again_at()),
                       descriptors);
            watch_.read();
            if (!is_still_over()) return;
            if (monotonic_now() >= grace_ends)
                starting = find_starting_shims(watcher_.files(), last);
        } while (monotonic_now() < grace_ends || !starting.handles.empty());
        // A shim may have taken the lock just before the search, or ended since.
        is_still_over();
    }

    void open_if_present() {
        const auto& run = watcher_.seen().now.run;
        const auto start = log_of(watcher_.seen().now);
        if (log_ || !start) return;
        log_.emplace(*run, watcher_.files());
        // The watch comes before the first look, so that nothing written between the last read and
        // the sleep is missed.
        gives_signs_ = options_.follow && watch_.watch_file(log_->descriptor()) &&
                       watcher_.seen().now.place == Place::here;
        log_->rewind_if_cut(run_of(watcher_));
        if (options_.lines) log_->skip_to_last_lines(*options_.lines);
    }

    void sleep() {
        std::vector<pollfd> descriptors{{STDOUT_FILENO, 0, 0}, {watch_.descriptor(), POLLIN, 0}};
        watcher_.add_to(descriptors);
        auto wake_at = watcher_.look_again_at();
        if (log_ && !gives_signs_) wake_at = std::min(wake_at, monotonic_now() + log_tick);
        poll_until(wake_at, descriptors);
        if (watcher_.is_due(watch_.read(), monotonic_now())) watcher_.look(context_, false);
    }

    // For logs that others may write to without this kernel noticing.
    static constexpr milliseconds log_tick{1000};

    const CtlOptions& options_;
    const Context& context_;
    FileWatch watch_;
    JobWatcher watcher_;
    std::optional<LogReader> log_;
    bool gives_signs_ = false;
};

}  // namespace

Outcome show_log(const CtlOptions& options, const Context& context) {
    const std::string& job = options.jobs.front();
    auto files = select_job(job, context.directories);
    if (!files) {
        complain_of_no_such_job(job);
        return Outcome::no_such_job;
    }
    return Follower(std::move(*files), options, context).run();
}

}  // namespace jobshim
