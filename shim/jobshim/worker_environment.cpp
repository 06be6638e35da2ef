#include "shim/jobshim/worker_environment.hpp"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string_view>

#include "common/job_names.hpp"
#include "common/process_identity.hpp"

extern char** environ;

namespace jobshim {

WorkerEnvironment::WorkerEnvironment(const std::string& job_file) {
    const std::string name = std::string(job_file_variable) + "=";
    assignment_ = name + job_file;
    bool is_set = job_file.empty();
    for (char** at = environ; *at != nullptr; ++at) {
        if (!std::string_view(*at).starts_with(name)) {
            entries_.push_back(*at);
        } else if (!is_set) {
            entries_.push_back(assignment_.data());
            is_set = true;
        }
    }
    if (!is_set) entries_.push_back(assignment_.data());
    entries_.push_back(nullptr);
}

void WorkerEnvironment::retarget_pids(int shim_pid) {
    const auto hand_over = [&](const std::string& name, const std::string& from,
                               const std::string& to) {
        for (char*& entry : entries_)
            if (entry != nullptr && entry == name + from) entry = ::strdup((name + to).c_str());
    };
    const std::string shim = std::to_string(shim_pid);
    const std::string own = std::to_string(::getpid());
    hand_over("LISTEN_PID=", shim, own);
    hand_over("WATCHDOG_PID=", shim, own);
    const auto lasting = [](int pid) {
        const auto number = process_inode_of(pid);
        return number ? std::to_string(*number) : "none";
    };
    if (std::getenv("LISTEN_PIDFDID") != nullptr)
        hand_over("LISTEN_PIDFDID=", lasting(shim_pid), lasting(::getpid()));
}

}  // namespace jobshim
