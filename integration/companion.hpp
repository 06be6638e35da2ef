#pragma once

// A stand-in for openai/codex-plugin-cc: what it does to its state directory, and nothing else. It
// writes as Node's writeFileSync does (truncate, then write), without locks and without rename; the
// job file first, the index later; and it takes an index that it cannot read for an empty one.

#include <optional>

#include "integration/support.hpp"

namespace harness {

class Companion {
public:
    /// Makes the directory, with an index of no jobs.
    explicit Companion(fs::path state_directory);

    const fs::path dir, index = dir / "state.json", jobs = dir / "jobs";
    fs::path job_file(const std::string& id) const { return jobs / (id + ".json"); }
    fs::path log_file(const std::string& id) const { return jobs / (id + ".log"); }
    fs::path own_record(const std::string& id) const { return dir / "jobshim" / (id + ".json"); }

    /// A record as the plugin makes one.
    Json record(const std::string& id, const std::string& status,
                std::optional<pid_t> pid = std::nullopt) const;
    void write_job(const Json& job) const;   ///< the job file alone
    void upsert(const Json& job) const;      ///< the index alone
    void write_both(const Json& job) const;  ///< in the plugin's order
    void append_log(const std::string& id, const std::string& line) const;
    /// What the plugin writes once it has killed the worker.
    void cancel(const std::string& id) const;
    /// The end of a session: the files of these jobs are removed, and its caller goes on.
    void remove_files(const std::string& id) const;
    void remove_entry(const std::string& id) const;

    Json job(const std::string& id) const;    ///< {} if it is gone
    Json entry(const std::string& id) const;  ///< {} if there is none
    /// The status in the job file, and in the index: "failed failed"; "-" where it is gone.
    std::string statuses(const std::string& id) const;

    /// sh -c's script for a worker: it says that it runs, under its own pid, and goes on with
    /// `rest`.
    std::string worker(const std::string& id, const std::string& rest) const;

private:
    Json load() const;
    void save(const Json& state) const;
};

std::string iso_now(std::chrono::milliseconds ago = 0ms);

}  // namespace harness
