#include "common/job_file.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "common/clocks.hpp"
#include "common/posix_error.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

// How long a file that is no JSON object may be so: its writer may be at it.
constexpr milliseconds torn_patience{1000};
constexpr milliseconds torn_look{10};

bool is_torn(const JobDocument& document) {
    return document.fault() == JsonFault::malformed || document.fault() == JsonFault::not_object;
}

void refuse_too_deep(const JobDocument& document, const std::string& path) {
    if (document.fault() == JsonFault::too_deep)
        throw Refusal(path + ": nested deeper than " + std::to_string(max_json_levels) + " levels");
}

}  // namespace

JobFile::JobFile(JobFiles files, SyncPolicy policy, Notice notice)
    : files_(std::move(files)), policy_(policy), notice_(std::move(notice)) {}

std::optional<JobDocument> JobFile::wait_until_whole(const std::string& path, std::string text) {
    const auto deadline = monotonic_now() + torn_patience;
    for (;;) {
        JobDocument document = JobDocument::parse(std::move(text));
        refuse_too_deep(document, path);
        if (!is_torn(document)) return document;
        if (monotonic_now() >= deadline) return std::nullopt;
        pause_for(torn_look);
        auto contents = read_file(path, max_job_file_bytes);
        text = contents ? std::move(contents->text) : "";
    }
}

void JobFile::set_aside(const std::string& path) {
    std::string time = iso_time(wall_now_ms());
    std::erase(time, ':');
    for (int n = 0; n < 100; ++n) {
        const std::string aside =
            files_.job + ".corrupt-" + time + (n == 0 ? "" : "-" + std::to_string(n));
        // A hard link never replaces anything, on any file system that has them.
        if (::syscall(SYS_renameat2, AT_FDCWD, path.c_str(), AT_FDCWD, aside.c_str(), 1U) == 0 ||
            ((errno == EINVAL || errno == ENOSYS) && ::link(path.c_str(), aside.c_str()) == 0 &&
             ::unlink(path.c_str()) == 0)) {
            notice_(files_.job + ": not a JSON object; moved aside to " + aside);
            return;
        }
        if (errno != EEXIST) throw_errno("move " + path + " aside to " + aside);
    }
    throw_errno("move " + path + " aside", EEXIST);
}

JobFile::Found JobFile::find() {
    auto contents = read_file(files_.job, max_job_file_bytes);
    if (!contents) return {"", std::nullopt, last_good_};
    auto document = wait_until_whole(files_.job, std::move(contents->text));
    if (!document) {
        set_aside(files_.job);
        return {"", std::nullopt, last_good_};
    }
    // The stamp may be older than the text if the file was torn at first: look again.
    const auto stamp = stamp_at(files_.job);
    return {document->text(), stamp ? stamp : contents->stamp, std::move(document)};
}

std::optional<JobDocument> JobFile::load() { return find().document; }

void JobFile::reserve(std::size_t bytes) {
    reserve_.reset();  // the name is free again
    reserve_ = std::make_unique<StagedFile>(files_.reserve, stamp_at(files_.job));
    reserve_->reserve(static_cast<off_t>(bytes));
    reserved_ = bytes;
}

void JobFile::check_reserve(std::size_t for_us) {
    const auto stamp = stamp_at(files_.job);
    if (reserve_ && stamp && static_cast<std::size_t>(stamp->size) + for_us > reserved_)
        reserve(static_cast<std::size_t>(stamp->size) * 2 + for_us);
}

void JobFile::update(const Edit& edit, Write write) {
    Found base = find();
    // Somebody who writes in a tight loop gets so many chances to be merged.
    for (int attempt = 0; attempt < 100; ++attempt) {
        const std::string text = edit(base.document ? &*base.document : nullptr);
        std::unique_ptr<StagedFile> staged;
        if (write == Write::last && reserve_) {
            staged = std::move(reserve_);
            staged->take_after(base.stamp);
        } else {
            staged = std::make_unique<StagedFile>(files_.fresh, base.stamp);
        }
        staged->write(text);
        // An unflushed file over a flushed one of somebody else's may be lost to a power cut, the
        // old content with it (seen on xfs).
        const bool foreign =
            base.stamp && !(last_written_ && base.stamp->same_file(*last_written_));
        const bool flush = policy_ == SyncPolicy::always ||
                           (policy_ == SyncPolicy::final && (write == Write::last || foreign));
        if (flush) staged->flush();

        const auto arrival =
            base.stamp ? staged->arrive_in_exchange(files_.job) : staged->arrive_as_new(files_.job);
        if (arrival == StagedFile::Arrival::there_was_one) {
            base = find();
            continue;
        }
        if (arrival == StagedFile::Arrival::there_was_none) {
            base.stamp.reset();
            continue;
        }
        if (!base.stamp && !last_good_) made_new_ = true;
        last_written_ = staged->stamp();
        last_good_ = JobDocument::parse(text);
        if (arrival == StagedFile::Arrival::exchanged) {
            auto displaced = read_file(staged->path(), max_job_file_bytes);
            if (displaced && displaced->text != base.text) {
                auto theirs = wait_until_whole(staged->path(), std::move(displaced->text));
                if (theirs) {
                    base.document = std::move(theirs);
                    base.text = text;  // this is what the next exchange should displace
                    base.stamp = last_written_;
                    continue;
                }
                set_aside(staged->path());
            }
            staged->remove();
        }
        if (flush) flush_directory(files_.directory);
        return;
    }
}

void JobFile::remove_leavings() {
    ::unlink(files_.fresh.c_str());
    ::unlink(files_.reserve.c_str());
}

}  // namespace jobshim
