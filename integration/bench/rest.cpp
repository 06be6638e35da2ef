#include "integration/bench/rest.hpp"

#include <signal.h>

#include <cstdlib>
#include <thread>
#include <utility>

#include "integration/bench/files.hpp"

namespace bench {

namespace {

using Json = nlohmann::json;

// How much CPU time `pid` has used so far.
double ran_for_ns(pid_t pid) {
    return std::strtod(text_of("/proc/" + std::to_string(pid) + "/schedstat").c_str(), nullptr);
}

struct Sums {
    double private_dirty_kib = 0;
    double pss_kib = 0;
    double wakes = 0;
    double ran_ns = 0;
};

Sums sums_of(const std::vector<pid_t>& waiting) {
    Sums sums;
    for (const pid_t pid : waiting) {
        const std::string directory = "/proc/" + std::to_string(pid);
        sums.private_dirty_kib += number_in(directory + "/smaps_rollup", "Private_Dirty");
        sums.pss_kib += number_in(directory + "/smaps_rollup", "Pss");
        sums.wakes += number_in(directory + "/status", "voluntary_ctxt_switches");
        sums.ran_ns += ran_for_ns(pid);
    }
    return sums;
}

// The commands that have been executed, and the processes that wait for them.
struct Pairs {
    std::vector<pid_t> commands, waiting;
};

Pairs find_pairs() {
    Pairs pairs;
    for (const Process& process : descendants()) {
        if (process.name != "sleep") continue;
        pairs.commands.push_back(process.pid);
        pairs.waiting.push_back(process.parent);
    }
    return pairs;
}

// Waits for the last steps of the start, which must not be counted.
void wait_until_idle(const std::vector<pid_t>& waiting) {
    double ran = -1;
    wait_until(
        [&] {
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
            const double now = sums_of(waiting).ran_ns;
            return now - std::exchange(ran, now) < 1e5 * static_cast<double>(waiting.size());
        },
        "the copies to come to rest");
}

Json look_at(const Runner& runner, int copies, double seconds) {
    for (int i = 0; i < copies; ++i)
        start(runner.wrap({"sleep", "1000000"}, "rest" + std::to_string(i)), runner.how);
    Pairs pairs;
    wait_until(
        [&] {
            pairs = find_pairs();
            return pairs.commands.size() == static_cast<std::size_t>(copies);
        },
        "copies of " + runner.name);
    wait_until_idle(pairs.waiting);
    pairs = find_pairs();  // what conmon's runtime started is conmon's child by now
    const Sums before = sums_of(pairs.waiting);
    const auto begin = Clock::now();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    const double ns = std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
    const Sums after = sums_of(pairs.waiting);
    for (const pid_t pid : pairs.commands) ::kill(pid, SIGKILL);
    wait_for_all();
    for (int i = 0; i < copies; ++i) runner.clean("rest" + std::to_string(i));
    return {{"name", runner.name},
            {"copies", copies},
            {"privateDirtyKiB", after.private_dirty_kib / copies},
            {"pssKiB", after.pss_kib / copies},
            {"wakesPerMinute", (after.wakes - before.wakes) / copies / ns * 60e9},
            {"cpuOfOneCore", (after.ran_ns - before.ran_ns) / ns}};
}

}  // namespace

Json measure_rest(const Places& places, const RestPlan& plan) {
    Json rows = Json::array();
    for (const Runner& runner : runners(places)) {
        if (runner.name == "posix_spawn" || runner.name == "vfork") continue;  // nothing waits
        const bool is_shim = runner.program == places.jobshim;
        // How and where it flushes makes no difference to a shim at rest.
        if (is_shim && runner.name.find("final, tmpfs") == std::string::npos) continue;
        rows.push_back(look_at(runner, 1, plan.seconds));
        if (plan.copies > 1) rows.push_back(look_at(runner, plan.copies, plan.seconds));
        if (is_shim && plan.many > 0) rows.push_back(look_at(runner, plan.many, plan.seconds));
    }
    return rows;
}

}  // namespace bench
