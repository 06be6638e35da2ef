#include "integration/support/matrix.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

namespace harness {

namespace fs = std::filesystem;

std::string word(ReportedOutcome outcome) {
    switch (outcome) {
        case ReportedOutcome::true_end:
            return "true end";
        case ReportedOutcome::lost:
            return "lost";
        case ReportedOutcome::alive:
            return "alive";
        case ReportedOutcome::refused:
            return "refused";
        case ReportedOutcome::unknown:
            return "unknown";
        case ReportedOutcome::nothing:
            return "no job";
        case ReportedOutcome::lie:
            return "LIE";
    }
    return "";
}

Matrix::Matrix(std::string suite, std::string part)
    : suite_(std::move(suite)), part_(std::move(part)) {}

Matrix::~Matrix() {
    const char* setting = std::getenv("JOBSHIM_MATRIX_DIR");
    const fs::path directory = setting != nullptr ? setting : JOBSHIM_MATRIX_DIR;
    std::error_code ignored;
    fs::create_directories(directory, ignored);
    const auto name = part_.empty() ? suite_ : suite_ + ", " + part_;
    std::ofstream out(directory / (name + ".tsv"), std::ios::trunc);
    for (const auto& [fault, outcomes] : counts_)
        for (const auto& [outcome, count] : outcomes)
            out << suite_ << '\t' << fault << '\t' << word(outcome) << '\t' << count << '\n';
}

void Matrix::count(const std::string& fault, ReportedOutcome outcome) { ++counts_[fault][outcome]; }

int Matrix::total() const {
    int sum = 0;
    for (const auto& [fault, outcomes] : counts_)
        for (const auto& [outcome, count] : outcomes) sum += count;
    return sum;
}

int Matrix::lies() const {
    int sum = 0;
    for (const auto& [fault, outcomes] : counts_)
        for (const auto& [outcome, count] : outcomes)
            if (outcome == ReportedOutcome::lie) sum += count;
    return sum;
}

}  // namespace harness
