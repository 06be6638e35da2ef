// How much of large records one command reads: a directory of them must not cost minutes and
// gigabytes. Records of the usual size are read whatever their number.
#pragma once

#include <cstddef>

#include "common/job_document.hpp"

namespace jobshim {

class RecordBudget {
public:
    // The most that the next record may have to be read at all.
    std::size_t limit() const { return is_spent() ? usual : max_job_file_bytes; }
    bool is_spent() const { return spent_ >= whole; }
    // A record of this size was read so many times.
    void spend(std::size_t bytes, std::size_t times = 1) {
        if (bytes > usual) spent_ += bytes * times;
    }

    static constexpr const char* refusal =
        "not read: it is larger than 64 KiB, and too many such files were read already (name it "
        "alone)";

private:
    static constexpr std::size_t usual = std::size_t{64} << 10U;
    static constexpr std::size_t whole = std::size_t{96} << 20U;
    std::size_t spent_ = 0;
};

}  // namespace jobshim
