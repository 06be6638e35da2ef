// Thousands of jobs, some of them hit at a random moment, while readers and reapers look on all the
// time.

#include <signal.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <random>

#include "integration/support.hpp"

using namespace harness;

namespace {

enum class Fault { none, worker_killed, shim_killed, both_killed, shim_termed };

std::string name_of(Fault fault) {
    switch (fault) {
        case Fault::none:
            return "none";
        case Fault::worker_killed:
            return "worker killed";
        case Fault::shim_killed:
            return "shim killed";
        case Fault::both_killed:
            return "worker and shim killed";
        case Fault::shim_termed:
            return "TERM to the shim";
    }
    return "";
}

struct Job {
    std::string id;
    int code = 0;
    bool adopted = false;
    bool keep = false;  // the worker outlives its shim
    Fault fault = Fault::none;
    Clock::time_point hit_at;
    bool was_hit = false;
    Process shim;
    Result ended;
    Json seen_end = nullptr;  // the first final record that a reader showed
};

class Soak {
public:
    Soak(Sandbox& box, Matrix& matrix, int jobs, unsigned seed)
        : box_(box), matrix_(matrix), most_(jobs), random_(seed) {
        fs::create_directory(directory_);
    }
    ~Soak() { fs::remove_all(directory_); }
    Soak(const Soak&) = delete;
    Soak& operator=(const Soak&) = delete;

    /// Returns how often readers and reapers looked.
    int run() {
        while (started_ < most_ || !running_.empty()) {
            while (running_.size() < 8 && started_ < most_) start();
            wait_until([&] { return advance(); });
            look_on();
        }
        for (ReaderLoop& reader : readers_) finish(reader);
        // Orphans run on and come to their end.
        CHECK(wait_until([&] { return settle_the_rest(); }, 60s));
        for (const Job& job : ended_) check(job);
        CHECK(names_in(directory_, ".jobshim-").empty());
        CHECK(names_in(directory_, ".corrupt-").empty());
        CHECK(names_in(directory_, ".displaced-").empty());
        return looks_;
    }

private:
    fs::path file_of(const Job& job) const { return directory_ / (job.id + ".json"); }
    fs::path marker_of(const Job& job) const { return directory_ / (job.id + ".marker"); }

    int pick(int most) { return std::uniform_int_distribution<int>(0, most)(random_); }

    void start() {
        Job job;
        job.id = "soak-" + std::to_string(started_++);
        job.code = pick(1) == 0 ? 0 : 3;
        job.adopted = pick(9) < 4;
        job.keep = pick(3) == 0;
        job.fault = static_cast<Fault>(pick(4));
        job.hit_at = Clock::now() + Milliseconds(pick(60));
        if (job.adopted)
            put(file_of(job), R"({"id":")" + job.id + R"(","status":"queued","host":[1.10,")" +
                                  job.id + R"("]})");
        const std::string script = "sleep 0.0" + std::to_string(pick(6)) + "; : > '" +
                                   marker_of(job).string() + "'; exit " + std::to_string(job.code);
        Words extra{"--heartbeat-interval", "100ms"};
        if (job.keep) extra.insert(extra.end(), {"--on-shim-death", "keep"});
        job.shim = box_.start_job(file_of(job), script, extra);
        running_.push_back(std::move(job));
    }

    // True once something has happened.
    bool advance() {
        bool news = false;
        for (Job& job : running_)
            if (!job.was_hit && job.fault != Fault::none && Clock::now() >= job.hit_at) {
                hit(job);
                news = true;
            }
        for (auto job = running_.begin(); job != running_.end();) {
            if (job->shim.running()) {
                ++job;
                continue;
            }
            job->ended = job->shim.wait();
            ended_.push_back(std::move(*job));
            job = running_.erase(job);
            news = true;
        }
        return news || std::any_of(readers_.begin(), readers_.end(), [](const ReaderLoop& reader) {
                   return !reader.process.running();
               });
    }

    static void hit(Job& job) {
        job.was_hit = true;
        const bool worker = job.fault == Fault::worker_killed || job.fault == Fault::both_killed;
        if (worker)
            for (const pid_t pid : children_of(job.shim.pid())) ::kill(pid, SIGKILL);
        if (job.fault == Fault::shim_termed)
            job.shim.kill(SIGTERM);
        else if (job.fault != Fault::worker_killed)
            job.shim.kill(SIGKILL);
    }

    // ---- readers and reapers

    struct ReaderLoop {
        std::vector<Words> commands;
        std::size_t next = 0;
        Process process;
        bool is_list = false;
    };

    void look_on() {
        for (ReaderLoop& reader : readers_) {
            if (reader.next > 0 && reader.process.running()) continue;
            finish(reader);
            const Words& command = reader.commands[reader.next++ % reader.commands.size()];
            reader.is_list = command[0] == "list";
            Words argv{jobctl};
            argv.insert(argv.end(), command.begin(), command.end());
            reader.process = box_.spawn(argv);
            ++looks_;
        }
    }

    void finish(ReaderLoop& reader) {
        if (reader.next == 0) return;
        const Result result = reader.process.wait();
        CHECK(result.ended() == "exit 0");
        if (!reader.is_list) return;
        const Json jobs = Json::parse(result.out, nullptr, false);
        REQUIRE(jobs.is_array());
        for (const Json& shown : jobs) check_report(shown);
    }

    // No reader may report anything false, and a reported end must not change later.
    void check_report(const Json& shown) {
        const std::string id = at(shown, "/id");
        const auto is_it = [&](const Job& job) { return job.id == id; };
        auto job = std::find_if(running_.begin(), running_.end(), is_it);
        if (job == running_.end()) job = std::find_if(ended_.begin(), ended_.end(), is_it);
        if (job == ended_.end()) return;
        const std::string state = at(shown, "/verdict/state");
        INFO(shown.dump(2));
        CHECK(state != "unknown");
        if (job->fault == Fault::none) {
            CHECK(state != "lost");
            CHECK(state != (job->code == 0 ? "failed" : "completed"));
        }
        if (state != "completed" && state != "failed" && state != "cancelled") return;
        // A known end that is reported but not yet recorded has no record to compare with.
        if (at(shown, "/verdict").contains("notRecorded")) return;
        const Json end{state, at(shown, "/job/jobshim/exit/reason"),
                       at(shown, "/job/jobshim/exit/code")};
        if (job->seen_end.is_null()) job->seen_end = end;
        CHECK(job->seen_end == end);
    }

    bool settle_the_rest() {
        box_.ctl({"reap", "--dir", directory_});
        return std::all_of(ended_.begin(), ended_.end(), [&](const Job& job) {
            const Json record = Json::parse(slurp(file_of(job)), nullptr, false);
            const Json status = record.is_object() ? at(record, "/status") : Json("none");
            return (status != "running" && status != "queued") || never_began(job, record);
        });
    }

    // Hit before the shim even had a lock: nothing has happened to the host's file.
    static bool never_began(const Job& job, const Json& record) {
        return died_of_the_fault(job) && (record.is_discarded() || !record.contains("jobshim"));
    }

    static bool died_of_the_fault(const Job& job) {
        return job.ended.ended() == (job.fault == Fault::shim_termed ? "SIGTERM" : "SIGKILL");
    }

    // ---- the truth

    void check(const Job& job) {
        const std::string text = slurp(file_of(job));
        INFO(job.id << ", " << name_of(job.fault) << ", code " << job.code << ", shim ended by "
                    << job.ended.ended() << "\n"
                    << job.ended.err << text);
        const ReportedOutcome outcome = judge(job, text);
        matrix_.count(name_of(job.fault), outcome);
        CHECK(outcome != ReportedOutcome::lie);
    }

    ReportedOutcome judge(const Job& job, const std::string& text) const {
        if (text.empty() && !job.adopted && died_of_the_fault(job)) return ReportedOutcome::nothing;
        const Json record = Json::parse(text, nullptr, false);
        if (!record.is_object()) return ReportedOutcome::lie;
        if (job.adopted && at(record, "/host/1") != job.id) return ReportedOutcome::lie;
        const bool shim_was_killed =
            job.ended.ended() == "SIGKILL" &&
            (job.fault == Fault::shim_killed || job.fault == Fault::both_killed);
        if (never_began(job, record))
            return fs::exists(marker_of(job)) ? ReportedOutcome::lie : ReportedOutcome::unknown;
        const Json exit = at(record, "/jobshim/exit");
        if (!exit.is_object()) return ReportedOutcome::lie;
        const std::string reason = at(exit, "/reason");
        if (!job.seen_end.is_null() &&
            job.seen_end != Json{at(record, "/status"), reason, at(exit, "/code")})
            return ReportedOutcome::lie;
        if (reason == "success" || reason == "exit-code") {
            const bool good = at(exit, "/code") == job.code && fs::exists(marker_of(job)) &&
                              at(record, "/status") == (job.code == 0 ? "completed" : "failed");
            return good ? ReportedOutcome::true_end : ReportedOutcome::lie;
        }
        if (reason == "signal") {
            const bool killed =
                job.fault == Fault::worker_killed || job.fault == Fault::both_killed;
            const int signal = killed ? SIGKILL : SIGTERM;
            const bool was_hit = killed || job.fault == Fault::shim_termed;
            return was_hit && at(exit, "/signal") == signal ? ReportedOutcome::true_end
                                                            : ReportedOutcome::lie;
        }
        // Cancelled before the worker ran.
        if (reason == "cancelled")
            return job.fault == Fault::shim_termed && !fs::exists(marker_of(job))
                       ? ReportedOutcome::true_end
                       : ReportedOutcome::lie;
        if (reason == "shim-lost")
            return shim_was_killed ? ReportedOutcome::lost : ReportedOutcome::lie;
        return ReportedOutcome::lie;
    }

    Sandbox& box_;
    Matrix& matrix_;
    const fs::path directory_ = box_.dir / "jobs";
    const int most_;
    std::mt19937 random_;
    int started_ = 0;
    int looks_ = 0;
    std::deque<Job> running_, ended_;
    std::array<ReaderLoop, 2> readers_{
        ReaderLoop{
            {{"list", "--json", "--dir", directory_}, {"reap", "--dir", directory_}}, 0, {}, false},
        ReaderLoop{
            {{"reap", "--dir", directory_}, {"list", "--json", "--no-reap", "--dir", directory_}},
            0,
            {},
            false}};
};

}  // namespace

TEST_CASE_METHOD(Sandbox, "soak: thousands of jobs with random deaths and never a false report",
                 "[sweep]") {
    const char* jobs = std::getenv("JOBSHIM_SOAK_JOBS");
    const char* seed = std::getenv("JOBSHIM_SOAK_SEED");
    const auto chosen =
        static_cast<unsigned>(seed != nullptr ? std::stoul(seed) : std::random_device{}());
    std::cout << "JOBSHIM_SOAK_SEED=" << chosen << std::endl;
    Matrix matrix("soak");
    int looks = 0;
    // In directories that hold no more than a user's would: each look reads the whole of one.
    constexpr int most = 250;
    for (int left = jobs != nullptr ? std::stoi(jobs) : 2000, n = 0; left > 0; left -= most, ++n)
        looks += Soak(*this, matrix, std::min(left, most), chosen + static_cast<unsigned>(n)).run();
    CHECK(matrix.lies() == 0);
    std::cout << matrix.total() << " jobs, " << looks << " looks by readers and reapers\n";
}
