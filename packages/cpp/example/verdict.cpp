// verdict FILE...: how is the job, and if it has ended, why?
#include <exception>
#include <iostream>

#include "jobshim/reader.hpp"

int main(int argc, char** argv) try {
    for (int i = 1; i < argc; ++i) {
        const auto job = jobshim::read_job(argv[i]);
        if (!job) {
            std::cout << argv[i] << ": no such job\n";
            continue;
        }
        std::cout << job->id << ": " << word(job->state) << ": " << job->because << "\n";
        if (job->end) std::cout << "  reason: " << word(job->end->reason) << "\n";
    }
} catch (const std::exception& error) {
    std::cerr << "verdict: " << error.what() << "\n";
    return 1;
}
