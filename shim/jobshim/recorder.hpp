// Decides which record is written when, and what a run leaves behind.
//
// The order is the promise. Before the worker: locks, reserved space, first record. At the end: the
// exit goes into the heartbeat file, then into the job file, then the locks are released.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/heartbeat.hpp"
#include "common/job_file.hpp"
#include "common/observation.hpp"
#include "shim/jobshim/options.hpp"
#include "shim/jobshim/setup.hpp"

namespace jobshim {

class Recorder {
public:
    using Notice = JobFile::Notice;

    // `options` and `context` must outlive this object.
    Recorder(const ShimOptions& options, const RunContext& context, const JobFiles& files,
             Notice notice);
    // If the job was taken but not begun, leaves the heartbeat file as it was before.
    ~Recorder();
    Recorder(const Recorder&) = delete;
    Recorder& operator=(const Recorder&) = delete;

    // Takes the locks and the job. Settles an earlier run that is certainly dead; its exit becomes
    // `previous`. Does not write this run's record yet. Throws Refusal or std::system_error, whose
    // text names the job file, or SiblingFileFailure.
    void take_the_job();
    // Makes the job file say `running` / `starting`. Throws likewise. `companion_job`: the job in a
    // codex-companion state directory that this run belongs to; "" if there is none, or if it is
    // not known yet.
    void begin(const std::optional<LogStart>& log, const std::optional<OomBaseline>& oom,
               const std::string& companion_job);
    // COMMAND's process exists. If the record cannot be written now, it is written at the end.
    void started(const WorkerIdentity& worker);
    // False if another shim has begun the job, possible only if the heartbeat file was removed.
    bool holds_the_job();
    // `activity`: only if the options ask for it.
    void beat(const std::optional<Activity>& activity);
    // Takes the locks again: closing an inherited descriptor of the file may have released them.
    void lock_again() { hold_->lock_again(); }

    // True if the worker wrote a final status itself during this run.
    bool worker_reported();
    // A request to cancel this run, if there is one.
    std::optional<CancelRequest> cancel_request() const;

    // The companion job is known now. Written at once if possible, else at the end.
    void set_companion_job(const std::string& job);

    void set_log_end(std::optional<std::int64_t> end) {
        if (edit_.run.log) edit_.run.log->end = end;
    }
    void set_cancel(std::optional<CancelRequest> request) { edit_.run.cancel = std::move(request); }

    // Writes the end, without the tail and the evidence for which there is no room. If that fails,
    // saves a copy in `unrecorded/` at once, and retries for 30 s or until `give_up` returns true;
    // with --best-effort, or if the directory no longer exists, it does not retry. True if the end
    // is in the job file. `last.exit.ended_at` says when the end was.
    bool finish(Conclusion last, const std::function<bool(std::chrono::milliseconds)>& give_up);

    const std::string& id() const { return id_; }
    const JobFiles& files() const { return file_.files(); }
    int heartbeat_fd() const { return hold_->descriptor(); }
    // Descriptors that must stay open.
    std::vector<int> descriptors() const;

private:
    std::optional<JobDocument> load_after_previous_run();
    void refuse_if_alive(const JobDocument& document) const;
    void refuse_if_another_shim_began(const JobDocument& document) const;
    void refuse_if_of_later_run(const JobDocument& document) const;
    // Leaves the end where the other run does not find it. False, as from `finish`.
    bool give_up_the_job(const Conclusion& last, const std::string& why);
    bool give_up_the_record(const std::string& why);
    void choose_id(const std::optional<JobDocument>& document);
    // The text to write in place of `document`.
    std::string text_after(const JobDocument& document) const;
    void write(JobFile::Write kind);
    void write_if_possible();
    bool reported(const JobDocument& document) const;
    void write_last_line(const Conclusion& last);
    void write_end(const Conclusion& last);
    void leave_copy(const Conclusion& last);
    void clear_stale_files();
    void remove_what_is_of_no_more_use();
    std::size_t space_for_the_end() const;

    const ShimOptions& options_;
    const RunContext& context_;
    Notice notice_;
    std::optional<HeartbeatHold> hold_;  // nothing until the job is taken
    JobFile file_;
    JobEdit edit_;
    std::string id_;
    std::string last_written_;  // of the job file
    std::string former_heartbeat_;
    std::string former_end_;  // when the previous run ended, if its record was final
    off_t activity_at_ = 0;   // where its line is in the heartbeat file
    bool begun_ = false;
    bool finished_ = false;
    bool has_copy_ = false;  // in unrecorded/
};

}  // namespace jobshim
