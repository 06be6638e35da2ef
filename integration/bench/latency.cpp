#include "integration/bench/latency.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>

#include "integration/bench/files.hpp"

namespace bench {

namespace {

using Json = nlohmann::json;

// A running job, in a file of its own.
class Job {
public:
    Job(const Places& places, const std::string& directory, const std::string& sync)
        : file_(directory + "/latency.json") {
        shim_ = start({places.jobshim, "--sync", sync, "--job", file_, "--", "sleep", "1000000"});
        wait_until([this] { return find_worker(); }, "the worker");
    }
    ~Job() {
        wait_for_all();
        for (const char* end : {".json", ".heartbeat"})
            ::unlink((file_.substr(0, file_.rfind('.')) + end).c_str());
    }
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;
    const std::string& file() const { return file_; }
    pid_t shim() const { return shim_; }
    pid_t worker() const { return worker_; }

private:
    // Once the worker's program is executed, the shim has written everything it writes at the
    // start.
    bool find_worker() {
        for (const Process& process : processes())
            if (process.parent == shim_ && process.name == "sleep") worker_ = process.pid;
        return worker_ != 0;
    }
    std::string file_;
    pid_t shim_ = 0;
    pid_t worker_ = 0;
};

double us_since(Clock::time_point begin) { return Microseconds(Clock::now() - begin).count(); }

// From the worker's death until the record of it is in place.
double death_to_record(const Places& places, const std::string& directory, const std::string& sync,
                       int signal) {
    const Job job(places, directory, sync);
    const int watch = ::inotify_init1(IN_CLOEXEC);
    must(watch >= 0 && ::inotify_add_watch(watch, directory.c_str(), IN_MOVED_TO) >= 0,
         "watch " + directory);
    const auto begin = Clock::now();
    ::kill(job.worker(), signal);
    double us = 0;
    do {
        std::array<char, 4096> events;
        must(::read(watch, events.data(), events.size()) > 0, "read what changed in " + directory);
        us = us_since(begin);
    } while (text_of(job.file()).find("\"status\": \"failed\"") == std::string::npos);
    ::close(watch);
    return us;
}

// From the death of the worker or of the shim until `jobctl wait` returns.
double death_to_wait(const Places& places, const std::string& directory, bool of_shim) {
    const Job job(places, directory, "never");
    const pid_t waiter = start({places.jobctl, "wait", job.file()});
    wait_until([&] { return sleeps_with(waiter, "inotify") || sleeps_with(waiter, "pidfd"); },
               "`jobctl wait` to wait");
    const auto begin = Clock::now();
    ::kill(of_shim ? job.shim() : job.worker(), of_shim ? SIGKILL : SIGTERM);
    if (of_shim) wait_for(job.shim());  // as the launcher or pid 1 would
    wait_for(waiter);
    return us_since(begin);
}

Json row(const std::string& name, const std::vector<double>& us) {
    return {{"name", name},
            {"p10Us", quantile(us, 0.1)},
            {"p50Us", quantile(us, 0.5)},
            {"p90Us", quantile(us, 0.9)}};
}

}  // namespace

Json measure_latency(const Places& places, int rounds) {
    std::vector<double> never, final_on_disk, killed, worker, shim;
    for (int i = 0; i < rounds; ++i) {
        never.push_back(death_to_record(places, places.memory, "never", SIGTERM));
        final_on_disk.push_back(death_to_record(places, places.disk(), "final", SIGTERM));
        killed.push_back(death_to_record(places, places.memory, "never", SIGKILL));
        worker.push_back(death_to_wait(places, places.memory, false));
        shim.push_back(death_to_wait(places, places.memory, true));
    }
    const std::string memory = file_system_of(places.memory);
    const std::string disk = file_system_of(places.disk());
    return {row("worker's death to record, --sync never, " + memory, never),
            row("worker's death to record, --sync final, " + disk, final_on_disk),
            // After a SIGKILL the shim also checks the kernel's log for the OOM killer.
            row("worker's death by SIGKILL to record, --sync never, " + memory, killed),
            row("worker's death to the return of `jobctl wait`, " + memory, worker),
            row("shim's death to the return of `jobctl wait`, " + memory, shim)};
}

}  // namespace bench
