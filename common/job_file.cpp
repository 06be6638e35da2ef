#include "common/job_file.hpp"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "common/clocks.hpp"
#include "common/posix_error.hpp"
#include "common/system_calls.hpp"
#include "common/torn_file.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

// Runs an action on a file other than the job file, and reports its failure as such.
template <class Action>
auto on_sibling_file(Action action) {
    try {
        return action();
    } catch (const std::system_error& error) {
        throw SiblingFileFailure(error);
    }
}

void flush_file(const JobFiles& files) {
    const UniqueFd fd = files.directory.open_file(files.name, O_RDONLY);
    if (!fd || !flush_to_disk(fd.get())) throw_errno("flush " + files.path);
}

// How long an empty file is given, whose writer may only have begun.
constexpr std::chrono::milliseconds blank_patience{200};

bool is_blank(std::string_view text) {
    return without_byte_order_mark(text).find_first_not_of(" \t\r\n") == std::string_view::npos;
}

void refuse_beyond_bounds(const JobDocument& document, const std::string& path) {
    if (document.is_beyond_bounds()) throw Refusal(path + ": " + document.describe_fault());
}

// An edit adds fewer.
constexpr std::size_t most_members_added = 32;

bool is_want_of_room(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

}  // namespace

bool is_for_want_of_room(const std::exception& failure) {
    if (const auto* error = dynamic_cast<const std::system_error*>(&failure))
        return is_want_of_room(error->code().value());
    if (const auto* sibling = dynamic_cast<const SiblingFileFailure*>(&failure))
        return is_want_of_room(sibling->error());
    return dynamic_cast<const TooLarge*>(&failure) != nullptr;
}

JobFile::JobFile(JobFiles files, SyncPolicy policy, Notice notice)
    : files_(std::move(files)), policy_(policy), notice_(std::move(notice)) {
    // What is read here is written again.
    files_.directory = files_.directory.strictly();
}

std::optional<FileContents> JobFile::read(const std::string& name) const {
    return directory().read_file(name, max_job_file_bytes, Directory::Attributes::read);
}

JobFile::Found JobFile::wait_until_whole(const std::string& name, FileContents contents) {
    TornPatience patience(torn_job_patience);
    for (;;) {
        JobDocument document = JobDocument::parse(std::move(contents.text));
        refuse_beyond_bounds(document, files_.path_of(name));
        if (!document.is_torn())
            return {contents.stamp, std::move(document), std::move(contents.attributes)};
        // There is nothing in it yet that could be lost: mktemp(1) has made it, or touch(1).
        if (!last_good_ && contents.stamp.is_regular && is_blank(document.text()) &&
            (patience.is_over() ||
             TornPatience(blank_patience).is_over_for(directory(), name, contents.stamp)))
            return {contents.stamp, std::nullopt, std::move(contents.attributes), true};
        if (patience.is_over()) return {contents.stamp, std::nullopt};
        patience.pause();
        contents = read(name).value_or(FileContents{});
    }
}

std::string JobFile::move_aside(const std::string& name, const std::string& kind) {
    std::string time = iso_time(wall_now_ms());
    std::erase(time, ':');
    for (int n = 0; n < 100; ++n) {
        const std::string aside =
            files_.name + "." + kind + "-" + time + (n == 0 ? "" : "-" + std::to_string(n));
        if (directory().rename_to_free_name(name, aside)) return aside;
        if (errno == ENOENT) return "";
        if (errno != EEXIST)
            throw_errno("move " + files_.path_of(name) + " aside to " + files_.path_of(aside));
    }
    throw_errno("move " + files_.path_of(name) + " aside", EEXIST);
}

void JobFile::set_aside_torn(const std::string& name) {
    // A link may lead to any file of its owner's: that it is not a job file is no reason to move
    // it.
    if (files_.is_linked && name == files_.name)
        throw Refusal(files_.path +
                      ": not a JSON object; it was named by a symbolic link, and so stays there");
    const std::string aside = move_aside(name, "corrupt");
    if (aside.empty()) return;
    // Between our look and our move, its writer may have finished or another may have replaced it.
    const auto moved = directory().read_file(aside, max_job_file_bytes);
    if (moved && !JobDocument::parse(moved->text).is_torn()) {
        // Move it back if the name is free. If not, the file has been rewritten since.
        if (!directory().rename_to_free_name(aside, name)) directory().remove(aside);
        return;
    }
    notice_(files_.path + ": not a JSON object; moved aside to " + files_.path_of(aside));
}

JobFile::Found JobFile::find() {
    constexpr int most_torn = 3;
    for (int torn = 0; torn < most_torn; ++torn) {
        auto contents = read(files_.name);
        if (!contents) {
            if (!last_good_) return {};
            return {std::nullopt, JobDocument::parse(*last_good_)};
        }
        files_.refuse_another_owner(contents->stamp);
        if (!last_written_ || !contents->stamp.same_file(*last_written_)) was_there_ = true;
        Found found = wait_until_whole(files_.name, std::move(*contents));
        if (found.document || found.is_blank) {
            attributes_ = found.attributes;
            return found;
        }
        set_aside_torn(files_.name);
    }
    throw Refusal(files_.path + ": somebody keeps writing what is not a JSON object");
}

std::optional<JobDocument> JobFile::load() { return find().document; }

void JobFile::require_room_for(std::size_t bytes) const {
    if (bytes > max_job_file_bytes) throw TooLarge(files_.path + ": " + would_be_too_large);
    // No write has failed yet, and none may fail at the end.
    if (bytes > longest_file()) throw_errno("write the end to " + files_.path, EFBIG);
}

void JobFile::reserve(std::size_t bytes) {
    on_sibling_file([&] {
        if (!reserve_)
            reserve_ = std::make_unique<StagedFile>(directory(), files_.reserve,
                                                    directory().stamp_at(files_.name), attributes_);
        reserve_->reserve(static_cast<off_t>(bytes));
    });
    reserved_ = bytes;
}

void JobFile::check_reserve(std::size_t for_us) {
    const auto stamp = directory().stamp_at(files_.name);
    if (!reserve_ || !stamp) return;
    const auto size = static_cast<std::size_t>(stamp->size);
    if (size + for_us <= reserved_) return;
    try {
        reserve(2 * size + for_us);  // so that not every beat finds it grown
    } catch (const std::exception& failure) {
        if (!is_for_want_of_room(failure)) throw;
        reserve(size + for_us);
    }
}

// The file for the next version. One that is still staged from the last attempt is used again: on a
// full disk there is no room for another.
void JobFile::stage(std::unique_ptr<StagedFile>& staged, Write write, const Found& base) {
    if (staged && !staged->is_still_staged()) staged.reset();
    // Another run may have put its own in place of our reserve.
    if (!staged && write == Write::last && reserve_ && reserve_->is_still_staged())
        staged = std::move(reserve_);
    if (staged) return on_sibling_file([&] { staged->become_like(base.stamp, base.attributes); });
    const bool taken = displaced_ && displaced_->name() == files_.fresh;
    const std::string& name = taken ? files_.merged : files_.fresh;
    // A file is there if our last write could not examine what it had displaced.
    if (on_sibling_file([&] { return directory().stamp_at(name); })) clear_stale_file(name);
    on_sibling_file([&] {
        staged = std::make_unique<StagedFile>(directory(), name, base.stamp, base.attributes);
    });
}

// True if `staged` is in place. If not, `base` is brought up to date for the next attempt.
bool JobFile::commit(StagedFile& staged, Found& base, const std::string& text) {
    using Commit = StagedFile::Commit;
    switch (base.stamp ? staged.commit_by_exchange(files_.name)
                       : staged.commit_as_new(files_.name)) {
        case Commit::target_exists:
            base = find();
            return false;
        case Commit::target_missing:
            base.stamp.reset();
            return false;
        case Commit::in_place:
            created_ = created_ || !was_there_;
            break;
        case Commit::exchanged:
            break;
    }
    last_written_ = staged.stamp();
    last_good_ = text;
    return true;
}

void JobFile::update(const Edit& edit, Write write) {
    std::unique_ptr<StagedFile> staged;
    try {
        attempt_update(edit, write, staged);
    } catch (...) {
        // The reserve is for the next try.
        if (write == Write::last && staged && staged->is_still_staged())
            reserve_ = std::move(staged);
        throw;
    }
}

void JobFile::attempt_update(const Edit& edit, Write write, std::unique_ptr<StagedFile>& staged) {
    // The last write failed before it could merge this, so it must not count as merged now.
    if (displaced_) clear_stale_file(std::exchange(displaced_, nullptr)->name());
    Found base = find();
    // How many times to merge with a process that writes in a tight loop.
    constexpr int most_attempts = 200;
    // For this many attempts the new version is flushed before it is moved into place. After that
    // it is flushed in place, because the host seems to write faster than the disk flushes.
    constexpr int patient_attempts = 5;
    std::string expected = base.document ? base.document->text() : "";
    for (int attempt = 0; attempt < most_attempts; ++attempt) {
        const std::string text = edit(base.document ? &*base.document : nullptr);
        if (text.size() > max_job_file_bytes)
            throw TooLarge(files_.path + ": " + would_be_too_large);
        if (base.document && base.document->member_count() + most_members_added > max_json_members)
            refuse_beyond_bounds(JobDocument::parse(text), files_.path);
        const bool foreign =
            base.stamp && !(last_written_ && base.stamp->same_file(*last_written_));
        // Must this write survive a power cut?
        const bool lasting = policy_ == SyncPolicy::always ||
                             (policy_ == SyncPolicy::final && (write == Write::last || foreign));
        // If an unflushed file replaces a flushed one, a power cut may lose both, old content
        // included (seen on ext4 and xfs). What somebody else had written must not be lost.
        const bool flush = lasting || (policy_ == SyncPolicy::final && was_there_);
        // Everything whose failure must stop the write comes before the exchange.
        const UniqueFd to_flush =
            on_sibling_file([&] { return lasting ? directory().open_to_flush() : UniqueFd(); });
        stage(staged, write, base);
        on_sibling_file([&] {
            staged->write(text);
            if (flush && attempt < patient_attempts) staged->flush();
        });

        // Merge what was written meanwhile, so that nobody sees the older version again.
        if (base.stamp && !displaced_) {
            const auto now = directory().stamp_at(files_.name);
            if (now && !base.stamp->unchanged(*now)) {
                base = find();
                expected = base.document ? base.document->text() : "";
                continue;
            }
        }
        staged->give_back();
        const bool exchanges = base.stamp.has_value();
        if (!commit(*staged, base, text)) {
            expected = base.document ? base.document->text() : "";
            continue;
        }
        try {
            if (exchanges && look_at_displaced(std::move(staged), base, expected)) {
                expected = text;
                continue;
            }
            if (flush && attempt >= patient_attempts) flush_file(files_);
            if (to_flush && !flush_to_disk(to_flush.get()) && errno != EINVAL)
                throw_errno("flush " + directory().path());
        } catch (const std::exception& error) {
            // The new version is in place: this failure does not undo it.
            notice_(error.what());
        }
        return;
    }
    throw Refusal(files_.path + ": keeps changing");
}

// True if our version displaced something other than what it was based on: somebody was faster.
// What it displaced becomes the base of the next version, and stays on disk until that is in place.
bool JobFile::look_at_displaced(std::unique_ptr<StagedFile> staged, Found& base,
                                const std::string& expected) {
    auto contents = directory().read_file(staged->name(), max_job_file_bytes);
    // What another user put there is no version of the job.
    const bool as_expected = !contents || contents->text == expected ||
                             (expected.empty() && is_blank(contents->text)) ||
                             !counts_for(files_.owner(), contents->stamp.owner);
    if (displaced_) displaced_->remove();  // merged by now, or overwritten by its own writer
    displaced_.reset();
    if (as_expected) {
        staged->remove();
        return false;
    }
    contents = read(staged->name());
    Found theirs = wait_until_whole(staged->name(), contents.value_or(FileContents{}));
    if (!theirs.document) {
        set_aside_torn(staged->name());
        return false;
    }
    base = {last_written_, std::move(theirs.document), std::move(theirs.attributes)};
    // Whoever could not read theirs must not read it in ours.
    if (base.stamp && theirs.stamp) base.stamp->mode &= theirs.stamp->mode;
    displaced_ = std::move(staged);
    return true;
}

void JobFile::clear_stale_files() {
    for (const std::string& name : {files_.fresh, files_.merged, files_.reserve})
        clear_stale_file(name);
}

void JobFile::clear_stale_file(const std::string& name) {
    // A writer that was killed after its exchange, before it examined what it had displaced, may
    // have left the host's latest version here. A half-written version of ours is no loss.
    const auto there = on_sibling_file([&] { return directory().stamp_at(name); });
    if (!there) return;
    try {
        // Somebody else's is no version of the job; if it cannot be removed, another name is used.
        std::optional<FileContents> left;
        if (files_.counts(*there))
            left = on_sibling_file([&] { return directory().read_file(name, max_job_file_bytes); });
        if (!left) {
            directory().remove(name);
            return;
        }
        const JobDocument theirs = JobDocument::parse(std::move(left->text));
        const auto job = directory().read_file(files_.name, max_job_file_bytes);
        if (theirs.fault() == JsonFault::none && job) {
            const JobDocument now = JobDocument::parse(job->text);
            if (now.fault() == JsonFault::none && !same_host_members(theirs, now)) {
                notice_(files_.path + ": a version that was being replaced is kept in " +
                        files_.path_of(move_aside(name, "displaced")));
                return;
            }
        }
    } catch (const Refusal&) {
        // Not a regular file, or too large: we did not create it.
    }
    directory().remove(name);
}

}  // namespace jobshim
