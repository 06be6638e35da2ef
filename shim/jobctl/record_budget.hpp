// How much of large files one command reads: a directory of them must not cost minutes and
// gigabytes. Those of the usual size are read whatever their number.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>

#include "common/job_document.hpp"
#include "common/job_files.hpp"

namespace jobshim {

class RecordBudget {
public:
    // The most that the next record may have to be read at all.
    std::size_t limit() const { return is_spent() ? usual : max_job_file_bytes; }
    bool is_spent() const { return spent_ >= whole; }
    // A record of this size was read so many times.
    void spend(std::size_t bytes, std::size_t times = 1) {
        if (bytes * times > usual) spent_ += bytes * times;
    }

    // For a close look at a job: its files are read twice to be sure, and taken apart. False if
    // they are large and the budget is spent.
    bool take(const JobFiles& files) {
        const std::size_t bytes = size_of(files);
        if (bytes <= usual_job) return true;
        if (is_spent()) return false;
        spent_ += bytes * reads;
        return true;
    }
    // It was settled as well: read and written as often again.
    void take_again(const JobFiles& files) { (void)take(files); }

    static constexpr const char* refusal =
        "not read: its files are large, and too many such files were read already (name it alone)";

private:
    static std::size_t size_of(const JobFiles& files) {
        std::size_t bytes = 0;
        for (const std::string& name : {files.name, files.heartbeat})
            if (const auto stamp = files.directory.stamp_if_known(name))
                bytes += std::min(static_cast<std::size_t>(stamp->size), max_job_file_bytes);
        return bytes;
    }

    static constexpr std::size_t usual = std::size_t{64} << 10U;
    static constexpr std::size_t whole = std::size_t{96} << 20U;
    static constexpr std::size_t usual_job = std::size_t{8} << 10U;  // with its heartbeat file
    static constexpr std::size_t reads = 16;  // what taking it apart costs, as so much reading
    std::size_t spent_ = 0;
};

}  // namespace jobshim
