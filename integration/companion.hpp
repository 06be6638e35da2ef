#pragma once

// A stand-in for openai/codex-plugin-cc: what the plugin does to its state directory, and nothing
// else. It writes as Node's writeFileSync does (truncate, then write), without locks or renames;
// the job file first, the index afterwards; and it treats an index that it cannot read as empty.

#include <optional>

#include "integration/support.hpp"

namespace harness {

class Companion {
public:
    /// Creates the directory, with an empty index.
    explicit Companion(fs::path state_directory);
    /// One that is there already.
    enum AsItIs { as_it_is };
    Companion(fs::path state_directory, AsItIs) : dir(std::move(state_directory)) {}

    const fs::path dir, index = dir / "state.json", jobs = dir / "jobs";
    fs::path job_file(const std::string& id) const { return jobs / (id + ".json"); }
    fs::path log_file(const std::string& id) const { return jobs / (id + ".log"); }
    fs::path own_record(const std::string& id) const { return dir / "jobshim" / (id + ".json"); }

    /// A record as the plugin creates it.
    Json record(const std::string& id, const std::string& status,
                std::optional<pid_t> pid = std::nullopt) const;
    void write_job(const Json& job) const;    ///< the job file only
    void upsert(const Json& job) const;       ///< the index only
    void write_entry(const Json& job) const;  ///< likewise, and keeps its updatedAt
    void write_both(const Json& job) const;   ///< in the plugin's order
    void append_log(const std::string& id, const std::string& line) const;
    /// What the plugin writes after it has killed the worker.
    void cancel(const std::string& id) const;
    /// At the end of a session: removes the job's files. The caller does the rest.
    void remove_files(const std::string& id) const;
    void remove_entry(const std::string& id) const;

    Json job(const std::string& id) const;    ///< {} if the file is gone
    Json entry(const std::string& id) const;  ///< {} if there is none
    /// The statuses in the job file and in the index: "failed failed"; "-" where there is none.
    std::string statuses(const std::string& id) const;

    /// A worker's script for sh -c: it reports that it is running, under its own pid, and continues
    /// with `rest`.
    std::string worker(const std::string& id, const std::string& rest) const;

private:
    Json load() const;
    void save(const Json& state) const;
};

/// The pid of a process that is gone.
pid_t gone_pid();

/// A process with the command line of a companion's worker, "node SCRIPT ARGUMENTS...", which does
/// nothing until it is killed. SCRIPT is created in the sandbox.
Process spawn_companion(Sandbox& sandbox, const fs::path& script, const Words& arguments = {});

/// The verdict on a job in what `list --json` printed.
std::string state_of(const Json& array, const std::string& id);

std::string iso_now(std::chrono::milliseconds ago = 0ms);

}  // namespace harness
