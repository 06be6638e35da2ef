#pragma once

// Asks jobctl for the verdict on a job, and checks it against what the test knows to be true.

#include <signal.h>

#include <algorithm>
#include <iostream>
#include <string>

#include "integration/strace.hpp"
#include "integration/support.hpp"

namespace harness {

struct StatusReply {
    std::string state, because;
    Result result;
};

inline StatusReply parse_status(const Result& result) {
    const auto shown = Json::parse(result.out, nullptr, false);
    if (!shown.is_array() || shown.empty())
        return {result.code() == 4 ? "no such job" : "refused", result.err, result};
    return {at(shown, "/0/verdict/state"), at(shown, "/0/verdict/because"), result};
}

/// Starts a reader, for parse_status(): a test with many jobs can have them looked at in parallel.
inline Process start_reader(Sandbox& box, const fs::path& job, const Options& options = {},
                            const std::string& program = jobctl) {
    return box.spawn({program, "status", "--json", job}, options);
}

inline StatusReply ask(Sandbox& box, const fs::path& job, const Options& options = {},
                       const std::string& program = jobctl) {
    return parse_status(start_reader(box, job, options, program).wait());
}

/// What the test knows about the job.
enum class Truth {
    alive,  ///< its shim or its worker is alive
    dead,   ///< both are dead, and nobody saw the end
    ended,  ///< with exit 0, seen by its shim
};

inline ReportedOutcome outcome_for(Truth truth, const std::string& state) {
    const auto is_one_of = [&](const Words& words) {
        return std::find(words.begin(), words.end(), state) != words.end();
    };
    if (state == "unknown") return ReportedOutcome::unknown;
    if (state == "no such job") return ReportedOutcome::nothing;
    if (state == "refused") return ReportedOutcome::refused;
    switch (truth) {
        case Truth::alive:
            return is_one_of({"running", "stalled", "orphaned"}) ? ReportedOutcome::alive
                                                                 : ReportedOutcome::lie;
        case Truth::dead:
            return is_one_of({"lost", "failed"}) ? ReportedOutcome::lost : ReportedOutcome::lie;
        case Truth::ended:
            return state == "completed" ? ReportedOutcome::true_end : ReportedOutcome::lie;
    }
    return ReportedOutcome::lie;
}

/// A matrix that fails the test for every unexpected verdict, with the details of the first few.
class Verdicts {
public:
    explicit Verdicts(const std::string& suite) : suite_(suite), matrix_(suite) {}
    ~Verdicts() { std::cout << suite_ << ": " << matrix_.total() << " points" << std::endl; }
    Verdicts(const Verdicts&) = delete;
    Verdicts& operator=(const Verdicts&) = delete;

    void count(const std::string& fault, const StatusReply& said, Truth truth,
               const Words& expected) {
        const auto outcome = outcome_for(truth, said.state);
        matrix_.count(fault, outcome);
        if (outcome != ReportedOutcome::lie &&
            std::find(expected.begin(), expected.end(), said.state) != expected.end())
            return;
        if (++wrong_ > 5) return;
        FAIL_CHECK(fault << ": '" << said.state << "' instead of " << Json(expected).dump() << ": "
                         << said.because << said.result.err);
    }
    /// For the record of a job whose shim ended by itself and is gone by now.
    void count_end(const std::string& fault, const fs::path& job, int code) {
        const auto end = exit_of(job);
        const bool is_true = at(end, "/code") == code && at(end, "/certainty") == "observed";
        matrix_.count(fault, is_true ? ReportedOutcome::true_end : ReportedOutcome::lie);
        if (!is_true && ++wrong_ <= 5) FAIL_CHECK(fault << ": " << job << ": " << end.dump());
    }
    void require_no_lies() const {
        CHECK(wrong_ == 0);
        REQUIRE(matrix_.lies() == 0);
    }

private:
    std::string suite_;
    Matrix matrix_;
    int wrong_ = 0;
};

/// A process that stops right after one of its system calls, for as long as the test likes.
///
/// Caveat: the call is identified by its number among the calls of that name, so both runs must
/// make the same ones. If this run never gets that far, it just ends.
class Stopped {
public:
    struct Call {
        std::string name;
        int nth = 0;       ///< among the calls of this name
        std::string line;  ///< as strace wrote it
    };
    using Calls = std::vector<Call>;
    /// All calls of argv, in order, from the first open of a file (until then it knows nothing),
    /// without those of its heap.
    static Calls calls_of(Sandbox& box, const Words& argv, const Options& options = {}) {
        const auto trace = box.dir / "calls";
        box.run(under_strace(trace, {}, argv), options);
        Calls calls;
        std::map<std::string, int> count;
        bool has_opened = false;
        for (const auto& line : lines_of(slurp(trace))) {
            const auto end = line.find('(');
            if (end == std::string::npos || !std::islower(static_cast<unsigned char>(line[0])))
                continue;
            const auto name = line.substr(0, end);
            // execve starts the program itself; exit_group does not return.
            if (name == "execve" || name == "exit_group") continue;
            ++count[name];
            has_opened = has_opened || kind_of(name) == "openat";
            if (has_opened && !is_heap_call(name)) calls.push_back({name, count[name], line});
        }
        fs::remove(trace);
        return calls;
    }

    Stopped(Sandbox& box, const Call& call, const Words& argv, const Options& options = {})
        : trace_(box.dir / "stopped"),
          tracer_((fs::remove(trace_),
                   box.spawn(under_strace(trace_,
                                          {"-e", "trace=" + call.name, "-e",
                                           "inject=" + call.name +
                                               ":signal=SIGSTOP:when=" + std::to_string(call.nth)},
                                          argv),
                             options))) {
        REQUIRE(wait_until([&] {
            is_stopped_ = contains(slurp(trace_), "--- stopped by SIGSTOP ---");
            return is_stopped_ || !tracer_.running();
        }));
        if (!is_stopped_) return;
        const auto children = children_of(tracer_.pid());
        REQUIRE(children.size() == 1);
        pid_ = children[0];
    }
    bool is_stopped() const { return is_stopped_; }
    pid_t pid() const { return pid_; }
    Result resume_and_wait() {
        resume();
        return tracer_.wait();
    }
    void resume() const {
        if (is_stopped_) ::kill(pid_, SIGCONT);
    }
    Process& tracer() { return tracer_; }

private:
    fs::path trace_;
    Process tracer_;
    bool is_stopped_ = false;
    pid_t pid_ = -1;
};

}  // namespace harness
