#pragma once

// What came of the faults that the tests inject: one word for each, counted.

#include <map>
#include <string>

namespace harness {

/// What a job's record, and its readers, say once a fault has hit it. Every word but the last is
/// the truth, or says that the truth cannot be known.
enum class ReportedOutcome {
    true_end,  ///< the worker's real end is on record
    lost,      ///< dead, settled as such, and no end claimed that nobody saw
    alive,     ///< running, stalled, orphaned: and it is
    refused,   ///< nothing was started, and a message says why
    unknown,   ///< said in words
    nothing,   ///< no job was there, and none is told of
    lie,
};
std::string word(ReportedOutcome told);

/// Counts what came of each fault. Written when it goes, to JOBSHIM_MATRIX_DIR (from the
/// environment, else beside the test programs), where `./dev test` makes one table of all.
class Matrix {
public:
    explicit Matrix(std::string suite);  ///< one per test case, a name of its own
    ~Matrix();
    Matrix(const Matrix&) = delete;
    Matrix& operator=(const Matrix&) = delete;
    void count(const std::string& fault, ReportedOutcome told);
    int total() const;
    int lies() const;

private:
    std::string suite_;
    std::map<std::string, std::map<ReportedOutcome, int>> counts_;
};

}  // namespace harness
