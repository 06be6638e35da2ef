#include "integration/support/matrix.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

namespace harness {

namespace fs = std::filesystem;

std::string word(ReportedOutcome told) {
    switch (told) {
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

Matrix::Matrix(std::string suite) : suite_(std::move(suite)) {}

Matrix::~Matrix() {
    const char* wish = std::getenv("JOBSHIM_MATRIX_DIR");
    const fs::path folder = wish != nullptr ? wish : JOBSHIM_MATRIX_DIR;
    std::error_code ignored;
    fs::create_directories(folder, ignored);
    std::ofstream out(folder / (suite_ + ".tsv"), std::ios::trunc);
    for (const auto& [fault, outcomes] : counts_)
        for (const auto& [told, count] : outcomes)
            out << suite_ << '\t' << fault << '\t' << word(told) << '\t' << count << '\n';
}

void Matrix::count(const std::string& fault, ReportedOutcome told) { ++counts_[fault][told]; }

int Matrix::total() const {
    int sum = 0;
    for (const auto& [fault, outcomes] : counts_)
        for (const auto& [told, count] : outcomes) sum += count;
    return sum;
}

int Matrix::lies() const {
    int sum = 0;
    for (const auto& [fault, outcomes] : counts_)
        for (const auto& [told, count] : outcomes)
            if (told == ReportedOutcome::lie) sum += count;
    return sum;
}

}  // namespace harness
