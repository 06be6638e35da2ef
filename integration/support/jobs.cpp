#include "integration/support/jobs.hpp"

#include <fcntl.h>
#include <signal.h>

#include "integration/support/proc.hpp"
#include "tests/catch.hpp"

namespace harness {

fs::path heartbeat_of(const fs::path& job) {
    return job.extension() == ".json" ? fs::path(job).replace_extension(".heartbeat")
                                      : fs::path(job.string() + ".heartbeat");
}

bool shim_lock_is_held(const fs::path& heartbeat) {
    const Fd fd(open(heartbeat.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_len = 1;
    return fd.get() >= 0 && fcntl(fd.get(), F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

pid_t shim_of(const fs::path& job) { return at(read_json(job), "/jobshim/shim/pid").get<pid_t>(); }

Json exit_of(const fs::path& job) { return at(read_json(job), "/jobshim/exit"); }

pid_t started_worker_of(const fs::path& job) {
    Json pid;
    const bool runs = wait_until([&] {
        const auto record = Json::parse(slurp(job), nullptr, false);
        if (record.is_discarded() || at(record, "/phase") != "running") return false;
        pid = at(record, "/jobshim/worker/pid");
        return true;
    });
    INFO(job << " holds: " << slurp(job));
    REQUIRE(runs);
    REQUIRE(pid.is_number_integer());
    return pid.get<pid_t>();
}

pid_t worker_of(const fs::path& job) {
    const auto worker = started_worker_of(job);
    const auto shim = shim_of(job);
    const auto words_of = [](pid_t pid) {
        return slurp("/proc/" + std::to_string(pid) + "/cmdline");
    };
    REQUIRE(wait_until([&] {
        const auto words = words_of(worker);
        return words.empty() || words != words_of(shim);  // empty: it has already ended
    }));
    return worker;
}

void wait_until_parked(const Process& waiter) {
    REQUIRE(wait_until([&] {
        if (process_state(waiter.pid()) != 'S') return false;
        for (const auto& [number, link] : descriptors_of(waiter.pid()))
            if (contains(link, "pidfd") || contains(link, "inotify")) return true;
        return false;
    }));
}

void kill_shim(Process& shim, const fs::path& job) {
    worker_of(job);
    shim.kill(SIGKILL);
    shim.wait();
}

}  // namespace harness
