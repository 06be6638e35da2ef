#pragma once

// Outcomes of the faults that the tests inject: one word for each, counted.

#include <map>
#include <string>

namespace harness {

/// What a job's record and its readers report after a fault. Every word but the last is the truth,
/// or an admission that the truth cannot be known.
enum class ReportedOutcome {
    true_end,  ///< the worker's real end is on record
    lost,      ///< dead and settled as such; no end claimed that nobody saw
    alive,     ///< reported as running, stalled or orphaned, and it is
    refused,   ///< nothing was started, and a message says why
    unknown,   ///< reported as unknown
    nothing,   ///< there was no job, and none is reported
    lie,
};
std::string word(ReportedOutcome outcome);

/// Counts the outcomes of each fault. The destructor writes them to JOBSHIM_MATRIX_DIR (from the
/// environment; default: beside the test programs), where `./dev test` makes one table of them all.
class Matrix {
public:
    /// One per test case, with a unique name. Cases that share a row have a part of it each.
    explicit Matrix(std::string suite, std::string part = {});
    ~Matrix();
    Matrix(const Matrix&) = delete;
    Matrix& operator=(const Matrix&) = delete;
    void count(const std::string& fault, ReportedOutcome outcome);
    int total() const;
    int lies() const;

private:
    std::string suite_, part_;
    std::map<std::string, std::map<ReportedOutcome, int>> counts_;
};

}  // namespace harness
