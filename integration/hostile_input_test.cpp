// Whatever B writes into a file, A and root read it in good time and within little memory, and see
// what it is: no input crashes a reader, hangs it, or gets at the terminal.

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "integration/attackers.hpp"
#include "integration/companion.hpp"

using namespace harness;

// ---------------------------------------------------------------------------------------------
// Time and memory

namespace {

std::string members(int count) {
    std::string text = R"({"id":"job","status":"queued")";
    for (int number = 0; number < count; ++number) text += ",\"m" + std::to_string(number) + "\":0";
    return text + "}";
}

std::string repeated_key(int count) {
    std::string text = R"({"id":"job","status":"queued")";
    for (int number = 0; number < count; ++number) text += R"(,"jobshim":{})";
    return text + "}";
}

void make_sparse(const fs::path& where, uid_t owner, std::uintmax_t size) {
    Attacked::make_file(where, owner, 0644, "");
    fs::resize_file(where, size);
}

std::uintmax_t largest_file(const fs::path& directory) {
    std::uintmax_t largest = 0;
    for (const auto& entry : fs::recursive_directory_iterator(directory))
        if (entry.is_regular_file() && !entry.is_symlink())
            largest = std::max(largest, entry.file_size());
    return largest;
}

constexpr long most_kib = 64L << 10U;
constexpr std::uintmax_t most_in_record = 4U << 20U;

/// Some input that is expensive to read, in a directory of A's.
struct Expensive {
    std::string name;
    std::function<void(const fs::path& jobs)> make;
    std::vector<Words> commands;  ///< JOB and DIR stand for the job file and its directory
};

void play_expensive(Attacked& box, const Expensive& what, Milliseconds limit) {
    for (const auto& command : what.commands) {
        const auto jobs = box.make_directory(box.a / "jobs", user_a, 0755);
        what.make(jobs);
        const auto before = largest_file(jobs);
        auto process = box.begin(user_a, filled_in(command, box, jobs));
        const auto seen = watch(process, limit + 2s, 4 * most_kib);
        CAPTURE(what.name, command);
        INFO(said(seen));
        INFO("the largest file has " << largest_file(jobs) << " bytes");
        const bool cheap = !seen.hung && seen.wall < stretched(limit) &&
                           seen.peak_kib <= most_kib &&
                           largest_file(jobs) <= std::max(before, most_in_record);
        box.judge("expensive: " + what.name, cheap, refused);
        fs::remove_all(jobs);
        if (!cheap) return;  // the next command would take as long
    }
}

const std::vector<Words> readers_and_shim{{"jobctl", "status", "JOB"},
                                          {"jobctl", "list", "--dir", "DIR"},
                                          {"jobctl", "result", "--json", "JOB"},
                                          {"jobctl", "cancel", "JOB"},
                                          {"jobshim", "-j", "JOB", "--", "true"}};

}  // namespace

TEST_CASE_METHOD(Attacked, "a record of very many members costs neither time nor memory",
                 "[attacks][serial]") {
    NEEDS_USERS();
    const auto as_job = [](const std::string& text) {
        return [text](const fs::path& jobs) {
            Attacked::make_file(jobs / "job.json", user_a, 0644, text);
        };
    };
    play_expensive(*this, {"64 MiB of members", as_job(members(4'600'000)), readers_and_shim}, 1s);
    play_expensive(*this, {"4 MiB of members", as_job(members(300'000)), readers_and_shim}, 1s);
    play_expensive(*this, {"64 MiB of a key", as_job(repeated_key(4'700'000)), readers_and_shim},
                   1s);
    play_expensive(*this, {"4 MiB of a key", as_job(repeated_key(300'000)), readers_and_shim}, 1s);
    // Within the bounds.
    play_expensive(*this, {"9,000 times a key", as_job(repeated_key(9'000)), readers_and_shim}, 1s);
    play_expensive(*this, {"9,000 members", as_job(members(9'000)), readers_and_shim}, 1s);
}

TEST_CASE_METHOD(Attacked, "a displaced copy of very many members costs neither time nor memory",
                 "[attacks][serial]") {
    NEEDS_USERS();
    for (const int count : {9'000, 100'000})
        for (const auto& name : temporary_names)
            play_expensive(*this,
                           {"displaced copy",
                            [&](const fs::path& jobs) {
                                const auto text = members(count);
                                Attacked::make_file(jobs / "job.json", user_a, 0644, text);
                                Attacked::make_file(jobs / name, user_a, 0644, text);
                            },
                            {{"jobctl", "status", "JOB"}, {"jobshim", "-j", "JOB", "--", "true"}}},
                           1s);
}

TEST_CASE_METHOD(Attacked, "sparse files cost neither time nor memory", "[attacks][serial]") {
    NEEDS_USERS();
    play_expensive(*this,
                   {"sparse files",
                    [](const fs::path& jobs) {
                        for (int number = 0; number < 300; ++number)
                            make_sparse(jobs / ("job-" + std::to_string(number) + ".json"), user_a,
                                        60U << 20U);
                    },
                    {{"jobctl", "list", "--dir", "DIR"},
                     {"jobctl", "reap", "--dir", "DIR"},
                     {"jobctl", "prune", "--older-than", "1h", "--dir", "DIR"}}},
                   1s);
    for (const char* name : {"job.json", "job.heartbeat", "job.json.cancel"})
        play_expensive(*this,
                       {"a sparse file of 1 TiB",
                        [&](const fs::path& jobs) {
                            Attacked::make_file(jobs / "job.json", user_a, 0644,
                                                R"({"id":"job","status":"queued"})");
                            make_sparse(jobs / name, user_a, 1ULL << 40U);
                        },
                        readers_and_shim},
                       1s);
}

TEST_CASE_METHOD(Attacked, "what costs time only where there is much of it", "[attacks][serial]") {
    NEEDS_USERS();
    const auto many = [](int count, const std::string& name, const std::string& text) {
        return [=](const fs::path& jobs) {
            const Acting acting(user_a);
            for (int number = 0; number < count; ++number)
                put(jobs / ("job-" + std::to_string(number) + name), text);
        };
    };
    auto old = record_of_old_job("old");
    play_expensive(*this,
                   {"jobs of one prefix",
                    many(30'000, ".json", R"({"status":"queued"})"),
                    {{"jobctl", "status", "job", "--dir", "DIR"}}},
                   2s);
    play_expensive(*this,
                   {"copies beside old jobs",
                    [&](const fs::path& jobs) {
                        many(3'000, ".json", old.dump())(jobs);
                        many(3'000, ".json.corrupt-1", "")(jobs);
                        many(3'000, ".json.displaced-1", "")(jobs);
                    },
                    {{"jobctl", "prune", "--older-than", "1h", "--dry-run", "--dir", "DIR"}}},
                   2s);
    std::string lines;
    for (int number = 0; number < 100'000; ++number) lines += "{\"job\":\"other\"}\n";
    play_expensive(*this,
                   {"lines of a heartbeat file",
                    [&](const fs::path& jobs) {
                        Attacked::make_file(jobs / "job.json", user_a, 0644,
                                            record_of_dead_job("job").dump());
                        Attacked::make_file(jobs / "job.heartbeat", user_a, 0644, lines);
                    },
                    readers_and_shim},
                   2s);
    play_expensive(*this,
                   {"one long id",
                    [&](const fs::path& jobs) {
                        many(300, ".json", old.dump())(jobs);
                        old["id"] = std::string(3'000'000, 'x');
                        Attacked::make_file(jobs / "job.json", user_a, 0644, old.dump());
                    },
                    {{"jobctl", "list", "--dir", "DIR"}}},
                   2s);
}

TEST_CASE_METHOD(Attacked, "large heartbeat files and records of our own are read within bounds",
                 "[attacks][serial]") {
    NEEDS_USERS();
    const auto dead = record_of_dead_job("job");
    play_expensive(*this,
                   {"large heartbeat files",
                    [&](const fs::path& jobs) {
                        for (int number = 0; number < 300; ++number) {
                            const auto file = jobs / ("job-" + std::to_string(number) + ".json");
                            Attacked::make_file(file, user_a, 0644, dead.dump());
                            make_sparse(heartbeat_of(file), user_a, 4U << 20U);
                            fs::permissions(heartbeat_of(file), fs::perms(0600));
                        }
                    },
                    {{"jobctl", "list", "--no-reap", "--dir", "DIR"},
                     {"jobctl", "reap", "--dry-run", "--dir", "DIR"},
                     {"jobctl", "prune", "--dry-run", "--older-than", "1h", "--dir", "DIR"}}},
                   2s);
    play_expensive(*this,
                   {"large records of our own",
                    [&](const fs::path& jobs) {
                        const Acting acting(user_a);
                        const Companion plugin(jobs);
                        auto record = dead;
                        record["jobshim"]["exit"] = at(record_of_old_job("x"), "/jobshim/exit");
                        record["jobshim"]["exit"]["evidence"] =
                            std::vector<std::string>(100'000, "something that was seen");
                        fs::create_directory(jobs / "jobshim");
                        put(jobs / "jobshim/r.json", record.dump());
                        for (int number = 0; number < 40; ++number)
                            fs::create_hard_link(
                                jobs / "jobshim/r.json",
                                jobs / ("jobshim/r" + std::to_string(number) + ".json"));
                    },
                    {{"jobctl", "list", "--no-reap", "--companion", "DIR"},
                     {"jobctl", "status", "--companion", "DIR", "r1"},
                     {"jobctl", "status", "--companion", "DIR", "nosuch"}}},
                   5s);
}

TEST_CASE_METHOD(Attacked, "an array of many records needs little more memory than its text",
                 "[attacks][serial]") {
    NEEDS_USERS();
    auto record = record_of_old_job("old");
    for (int number = 0; number < 4'000; ++number) record["m" + std::to_string(number)] = 0;
    const auto text = record.dump();
    REQUIRE(text.size() < 64U << 10U);
    play_expensive(
        *this,
        {"many records",
         [&](const fs::path& jobs) {
             const Acting acting(user_a);
             for (int number = 0; number < 600; ++number)
                 put(jobs / ("job-" + std::to_string(number) + ".json"), text);
         },
         {{"jobctl", "list", "--json", "--dir", "DIR"},
          {"jobctl", "prune", "--dry-run", "--json", "--older-than", "1h", "--dir", "DIR"}}},
        5s);
}

TEST_CASE_METHOD(Attacked, "an index of 4,000 jobs is read once", "[attacks][serial]") {
    NEEDS_USERS();
    play_expensive(*this,
                   {"index",
                    [](const fs::path& jobs) {
                        const Acting acting(user_a);
                        const Companion plugin(jobs);
                        Json index{{"version", 1}, {"config", Json::object()}};
                        for (int number = 0; number < 4'000; ++number) {
                            auto entry =
                                plugin.record("job-" + std::to_string(number), "completed");
                            entry["completedAt"] = iso_now();
                            index["jobs"].push_back(entry);
                        }
                        put(plugin.index, index.dump());
                    },
                    {{"jobctl", "list", "--companion", "DIR"},
                     {"jobctl", "status", "--companion", "DIR", "job-7"},
                     {"jobctl", "reap", "--companion", "DIR"}}},
                   1s);
}

namespace {

/// A thousand files that are each some trouble.
void make_hostile_files(const fs::path& jobs, uid_t owner, Attacked& box) {
    const auto dead = box.record_of_dead_job("dead").dump();
    auto with_log = box.record_of_old_job("log");
    for (int number = 0; number < 1'000; ++number) {
        const auto file = jobs / ("job-" + std::to_string(number) + ".json");
        switch (number % 10) {
            case 0: {
                const Acting acting(owner);
                REQUIRE(mkfifo(file.c_str(), 0644) == 0);
                break;
            }
            case 1:
                Attacked::make_link(file, owner, box.precious / "dead.json");
                break;
            case 2:
                box.make_directory(file, owner, 0755);
                break;
            case 3:
                make_sparse(file, owner, 60U << 20U);
                break;
            case 4:
                Attacked::make_file(file, owner, 0644, R"({"id":"job","status":"runn)");
                break;
            case 5:
                Attacked::make_file(file, owner, 0644, std::string(100'000, '['));
                break;
            case 6:
                Attacked::make_file(file, owner, 0644, members(20'000));
                break;
            case 7:
                Attacked::make_file(file, owner, 0644, repeated_key(20'000));
                break;
            case 8:
                Attacked::make_file(file, owner, 0644, dead);
                Attacked::make_file(heartbeat_of(file), owner, 0644, "{}\n");
                break;
            default:
                with_log["jobshim"]["log"] = {{"file", jobs / "job-0.json"}, {"offset", 0}};
                Attacked::make_file(file, owner, 0644, with_log.dump());
        }
    }
}

}  // namespace

TEST_CASE_METHOD(Attacked, "a thousand hostile files are listed in five seconds",
                 "[attacks][serial]") {
    NEEDS_USERS();
    make_file(precious / "dead.json", root, 0644, record_of_dead_job("dead").dump());
    const auto before = everything_in(precious);
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    make_hostile_files(jobs, user_b, *this);
    // B holds the writer's byte of every heartbeat file.
    const Attacker holder(user_b, [&] {
        for (int number = 8; number < 1'000; number += 10)
            lock_bytes(heartbeat_of(jobs / ("job-" + std::to_string(number) + ".json")), F_WRLCK,
                       1)();
    });
    for (const uid_t user : {user_a, root})
        for (const auto& command : {Words{"list"}, Words{"list", "--json"}, Words{"reap"},
                                    Words{"prune", "--older-than", "1h"}}) {
            CAPTURE(user, command);
            auto words = survey_of(command, jobs);
            words.insert(words.begin(), ctl_program);
            auto process = begin(user, words);
            const auto seen = watch(process, 8s, 4 * most_kib);
            INFO(said(seen));
            judge("a thousand hostile files",
                  !seen.hung && seen.wall < stretched(5s) && seen.peak_kib <= most_kib &&
                      everything_in(precious) == before,
                  is_unknown);
        }
}

TEST_CASE_METHOD(Attacked, "a shared directory full of requests is listed in good time",
                 "[attacks][serial]") {
    NEEDS_USERS();
    constexpr int dead_jobs = 100, requests = 40'000;
    const auto jobs = make_directory(dir / "full", root, 01777);
    for (int number = 0; number < dead_jobs; ++number) {
        const auto id = "job-" + std::to_string(number);
        make_file(jobs / (id + ".json"), user_a, 0644, record_of_dead_job(id).dump());
    }
    const Attacker other(user_b, [&] {
        put(jobs / "of-b", "{}");
        for (int number = 0; number < requests; ++number) {
            const auto name = "job-" + std::to_string(number % dead_jobs) + ".json.cancel-" +
                              std::to_string(number);
            must(link((jobs / "of-b").c_str(), (jobs / name).c_str()), "link");
        }
    });
    for (const uid_t user : {user_a, root}) {
        auto process = begin(user, {ctl_program, "list", "--json", "--dir", jobs});
        const auto seen = watch(process, 8s, 4 * most_kib);
        INFO(said(seen));
        // Those for which there was no time are unknown, and the next to look at.
        judge("full of requests", !seen.hung && seen.peak_kib <= most_kib, is_lost);
    }
}

TEST_CASE_METHOD(Attacked, "a thousand dead jobs of codex-companion are settled some at a time",
                 "[attacks][serial]") {
    NEEDS_USERS();
    const auto state = make_directory(b / "state", user_b, 0755);
    {
        const Acting acting(user_b);
        const Companion plugin(state);
        Json index{{"version", 1}, {"config", Json::object()}};
        const pid_t dead = dead_pid();
        for (int number = 0; number < 1'000; ++number) {
            auto record = plugin.record("job-" + std::to_string(number), "running", dead);
            record["startedAt"] = record["createdAt"] = iso_now(1h);
            plugin.write_job(record);
            index["jobs"].push_back(record);
        }
        put(plugin.index, index.dump());
    }
    int settled = 0;
    for (int times = 0; times < 2; ++times) {
        auto process = begin(root, {ctl_program, "reap", "--companion", state});
        const auto seen = watch(process, 8s, 4 * most_kib);
        INFO(said(seen));
        judge("a thousand dead jobs", !seen.hung && seen.peak_kib <= most_kib, is_lost);
        const auto before = std::exchange(settled, 0);
        const Json index = read_json(state / "state.json");
        for (const auto& entry : index["jobs"])
            if (entry["status"] == "failed") ++settled;
        REQUIRE(settled > before);
    }
}

// ---------------------------------------------------------------------------------------------
// Text

namespace {

/// An escape sequence, a bell, DEL, a C1 control, a right-to-left override and an isolate.
const std::string evil =
    "x\x1b]0;evil\x07\x1b[2J\x7f\xc2\x9b"
    "31m\xe2\x80\xae\xe2\x81\xa6z";

/// True if no terminal does anything with it but show it.
bool is_plain(const std::string& text) {
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f) return false;
    }
    for (unsigned char last = 0x80; last < 0xa0; ++last)
        if (contains(text, std::string("\xc2") + static_cast<char>(last))) return false;
    for (const char* bidi :
         {"\xe2\x80\xaa", "\xe2\x80\xab", "\xe2\x80\xac", "\xe2\x80\xad", "\xe2\x80\xae",
          "\xe2\x81\xa6", "\xe2\x81\xa7", "\xe2\x81\xa8", "\xe2\x81\xa9"})
        if (contains(text, bidi)) return false;
    return true;
}

}  // namespace

TEST_CASE_METHOD(Attacked, "no message passes an escape sequence on", "[attacks][long]") {
    NEEDS_USERS();
    const auto jobs = make_directory(a / "jobs", user_a, 0755);
    const auto with = [&](const std::string& name) { return jobs / (name + evil + ".json"); };
    make_file(jobs / "old.json", user_a, 0644, record_of_old_job("old").dump());
    make_file(with("garbage"), user_a, 0644, "no JSON");
    make_directory(with("directory"), user_a, 0755);
    make_link(with("link"), user_a, jobs / evil);
    make_file(with("huge"), user_a, 0644, std::string(100'000, '['));
    make_file(with("two"), user_a, 0644, record_of_old_job("two" + evil).dump());
    make_file(with("twoo"), user_a, 0644, record_of_old_job("twoo" + evil).dump());
    {
        const Acting acting(user_a);
        REQUIRE(mkfifo(with("fifo").c_str(), 0600) == 0);
    }
    const std::string dir_option = "--dir=" + jobs.string(), old = jobs / "old.json";
    std::vector<Words> commands{
        {"jobctl", evil},
        {"jobctl", "list", "--" + evil},
        {"jobctl", "list", "--status", evil},
        {"jobctl", "list", "--dir", a / evil},
        {"jobctl", "list", "--dir", jobs},
        {"jobctl", "list", "--companion", a / evil},
        {"jobctl", "reap", "--dir", jobs},
        {"jobctl", "prune", "--older-than", evil, "--dir", jobs},
        {"jobctl", "prune", "--older-than", "1h", "--dry-run", "--dir", jobs},
        {"jobctl", "status", "--dir", jobs, "tw"},
        {"jobctl", "status", "--dir", jobs, evil},
        {"jobctl", "wait", "--timeout", evil, old},
        {"jobctl", "cancel", "--signal", evil, old},
        {"jobctl", "cancel", "--kill-after", evil, old},
        {"jobctl", "logs", "-n", evil, old},
        {"jobctl", "settle", old, "--as", evil, "--because", "it is"},
        {"jobshim", "--" + evil},
        {"jobshim", "--id", evil, "--", "true"},
        {"jobshim", "--timeout", evil, "--", "true"},
        {"jobshim", "--signal", evil, "--", "true"},
        {"jobshim", "-j", a / evil / "job.json", "--", "true"},
        {"jobshim", "-j", a / "1.json", "--log", a / evil / "log", "--", "true"},
        {"jobshim", "-j", a / "2.json", "--", a / evil},
        {"jobshim", "-j", a / "3.json", "--", evil},
        {"jobshim", "--companion", a / evil, "--id", "job", "--", "true"}};
    for (const char* name : {"missing", "garbage", "directory", "link", "huge", "two", "fifo"}) {
        for (const char* command : {"status", "result", "logs", "cancel", "doctor"})
            commands.push_back({"jobctl", command, with(name)});
        commands.push_back({"jobctl", "wait", "--timeout", "10ms", with(name)});
        commands.push_back(
            {"jobctl", "settle", with(name), "--as", "failed", "--because", "it is"});
    }
    for (const char* name : {"directory", "link", "huge", "fifo"})
        commands.push_back({"jobshim", "-j", with(name), "--", "true"});
    for (auto command : commands) {
        INFO(as_ascii(command));
        command[0] = command[0] == "jobshim" ? shim_program : ctl_program;
        const auto seen = play(user_a, command, 5s);
        INFO(as_ascii(seen.out) << as_ascii(seen.err));
        judge("escapes in messages", is_plain(seen.out) && is_plain(seen.err), refused);
    }
}

TEST_CASE_METHOD(Attacked, "no record's text passes an escape sequence on", "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    for (const bool old : {true, false}) {
        auto record = old ? record_of_old_job("job") : record_of_dead_job("job");
        record.update({{"title", evil},
                       {"command", {evil, evil}},
                       {"cwd", "/" + evil},
                       {"errorMessage", evil},
                       {"phase", evil},
                       {evil, evil}});
        record["jobshim"]["shim"]["host"] = evil;
        record["jobshim"]["cancel"] = {
            {"by", {{"pid", 7}, {"uid", 1}, {"command", evil}}}, {"reason", evil}, {"at", evil}};
        if (old)
            record["jobshim"]["exit"].update(
                {{"reason", evil},
                 {"evidence", {evil}},
                 {"signalName", evil},
                 {"tail", evil},
                 {"leftovers", {{{"pid", 7}, {"command", evil}}}},
                 {"requestedBy", {{"how", evil}, {"pid", 7}, {"uid", 1}, {"command", evil}}}});
        make_file(jobs / (old ? "old.json" : "dead.json"), user_b, 0644, record.dump());
        for (const auto& command : {Words{"status"}, Words{"result"}, Words{"list"}})
            for (const bool json : {true, false}) {
                CAPTURE(old, command, json);
                auto words = command[0] == "list"
                                 ? survey_of(command, jobs)
                                 : Words{command[0], jobs / (old ? "old.json" : "dead.json")};
                if (json) words.insert(words.begin() + 1, "--json");
                const auto seen = play_ctl(user_a, words);
                INFO(as_ascii(seen.out) << as_ascii(seen.err));
                judge("escapes in a record", is_plain(seen.out) && is_plain(seen.err),
                      old ? true_end : is_lost);
                if (!json || command[0] == "list") continue;
                const auto shown = Json::parse(seen.out, nullptr, false);
                CHECK(at(shown.is_array() ? shown[0] : shown, "/job/title") == evil);
            }
    }
}

// ---------------------------------------------------------------------------------------------
// What is no file, or no record

namespace {

void play_squatted_everywhere(Attacked& box) {
    Attacked::make_file(box.precious / "dead.json", root, 0600,
                        box.record_of_dead_job("dead").dump());
    const auto before = everything_in(box.precious);
    int number = 0;
    for (const char* name : {"job.json", "job.heartbeat", "job.json.cancel", "job.log"})
        for (const auto& [kind, how] : squats)
            for (const auto& command :
                 {Words{"jobctl", "status", "JOB"},
                  Words{"jobctl", "wait", "--timeout", "50ms", "JOB"},
                  Words{"jobctl", "logs", "JOB"}, Words{"jobctl", "doctor", "JOB"},
                  Words{"jobctl", "list", "--dir", "DIR"}, Words{"jobctl", "reap", "--dir", "DIR"},
                  Words{"jobctl", "prune", "--older-than", "1h", "--dir", "DIR"},
                  Words{"jobshim", "-j", "JOB", "--", "true"}}) {
                CAPTURE(name, kind, command);
                const auto jobs =
                    box.make_directory(box.b / ("squat-" + std::to_string(++number)), user_b, 0755);
                auto record = box.record_of_dead_job("job");
                record["jobshim"]["log"] = {{"file", jobs / "job.log"}, {"offset", 0}};
                Attacked::make_file(jobs / "job.json", user_b, 0644, record.dump());
                if (name == std::string("job.json")) fs::remove(jobs / name);
                squat(jobs / name, how);
                auto process = box.begin(root, filled_in(command, box, jobs));
                const auto seen = watch(process, 6s);
                INFO(said(seen));
                box.judge("no regular file",
                          !seen.hung && seen.code() >= 0 && everything_in(box.precious) == before,
                          refused);
            }
}

}  // namespace

TEST_CASE_METHOD(Attacked, "nothing hangs on a job's file that is a pipe, a link or a directory",
                 "[attacks][long]") {
    NEEDS_USERS();
    play_squatted_everywhere(*this);
}

TEST_CASE_METHOD(Attacked, "a worker that spoils its own job file harms nobody",
                 "[attacks][long]") {
    NEEDS_USERS();
    const std::map<std::string, std::string> ways{
        {"fifo", R"(rm "$JOBSHIM_JOB_FILE"; mkfifo "$JOBSHIM_JOB_FILE")"},
        {"directory", R"(rm "$JOBSHIM_JOB_FILE"; mkdir "$JOBSHIM_JOB_FILE")"},
        {"70 MiB", R"(head -c 73400320 /dev/zero > "$JOBSHIM_JOB_FILE")"},
        {"100,000 levels", R"(head -c 100000 /dev/zero | tr '\0' '[' > "$JOBSHIM_JOB_FILE")"}};
    std::vector<std::pair<std::string, Process>> shims;
    for (const auto& [name, script] : ways)
        shims.emplace_back(name, begin(user_a, {shim_program, "-j", a / (name + ".json"), "--",
                                                "sh", "-c", script}));
    for (auto& [name, shim] : shims) {
        CAPTURE(name);
        const auto seen = watch(shim, 45s);
        INFO(said(seen));
        judge("a worker spoils its record",
              !seen.hung && (seen.ended() == "exit 0" || seen.ended() == "exit 125") &&
                  seen.peak_kib <= most_kib,
              true_end);
        const auto shown = play_ctl(user_a, {"status", a / (name + ".json")}, 5s);
        INFO(said(shown));
        judge("a worker spoils its record, status", !shown.hung && shown.code() >= 0, is_unknown);
    }
}

TEST_CASE_METHOD(Attacked, "mutated records crash no reader", "[attacks][long]") {
    NEEDS_USERS();
    const auto jobs = make_directory(b / "jobs", user_b, 0755);
    // Some of them name this process, which must be left alone. Root does not read them here: a
    // mutated pid may be anybody's, and a reader that is wrong must not be able to signal it.
    const auto canary = stranger(user_b);
    auto record = record_of_dead_job("job");
    record["jobshim"]["worker"] = worker_identity_of(canary.pid());
    const auto text = record.dump();
    const auto beat = heartbeat(jobs / "job.json", at(record, "/jobshim/shim"),
                                at(record, "/jobshim/worker"), true);
    std::mt19937 random(4711);
    const auto below = [&](std::size_t limit) {
        return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random);
    };
    const auto mutated = [&](std::string bytes) {
        for (std::size_t left = 1 + below(4); left > 0 && !bytes.empty(); --left) {
            const auto at = below(bytes.size());
            switch (below(4)) {
                case 0:
                    bytes[at] = static_cast<char>(below(256));
                    break;
                case 1:
                    bytes.erase(at, 1 + below(20));
                    break;
                case 2:
                    bytes.insert(at, bytes.substr(below(bytes.size()), below(200)));
                    break;
                default:
                    bytes.resize(at);
            }
        }
        return bytes;
    };
    for (int round = 0; round < 6; ++round) {
        CAPTURE(round);
        std::vector<std::pair<fs::path, Process>> readers;
        for (int number = 0; number < 40; ++number) {
            const auto file = jobs / ("job-" + std::to_string(number) + ".json");
            make_file(file, user_b, 0644, below(2) == 0 ? text : mutated(text));
            make_file(heartbeat_of(file), user_b, 0644, mutated(beat));
            readers.emplace_back(file, begin(number % 4 == 0 ? user_a : user_b,
                                             {ctl_program, "status", "--json", file}));
        }
        for (auto& [file, reader] : readers) {
            const auto seen = watch(reader, 30s);
            INFO(as_ascii(slurp(file)) << "\n" << as_ascii(slurp(heartbeat_of(file))));
            INFO(as_ascii(seen.out) << as_ascii(seen.err) << seen.ended());
            judge("mutated", !seen.hung && seen.code() >= 0 && is_unharmed(canary.pid()),
                  is_unknown);
        }
    }
    canary.kill(SIGKILL);
}

TEST_CASE_METHOD(Attacked, "a number that overflows becomes no small one", "[attacks]") {
    NEEDS_USERS();
    struct Number {
        std::string option, value;
        bool may_run;  ///< as the largest number that there is
    };
    for (const auto& [option, value, may_run] :
         std::vector<Number>{{"--timeout", "99999999999999999999d", true},
                             {"--timeout", "18446744073709551617ms", true},
                             {"--timeout", "4294967296.1s", true},
                             {"--timeout", "1e400", false},
                             {"--timeout", "-1s", false},
                             {"--kill-after", "18446744073709551616ms", true},
                             {"--heartbeat-interval", "4294967296100ms", false},
                             {"--signal", "4294967305", false},
                             {"--signal", "65", false},
                             {"--signal", "-9", false},
                             {"--tail", "18446744073709551617", false},
                             {"--tail", "-1", false}}) {
        CAPTURE(option, value);
        fs::remove(a / "job.json");
        const auto seen =
            play_shim(user_a, {option, value, "-j", a / "job.json", "--", "sleep", "0.2"});
        INFO(said(seen));
        const bool is_harmless = may_run && seen.ended() == "exit 0";
        judge("overflow",
              is_harmless || (seen.ended() == "exit 125" && !fs::exists(a / "job.json")), refused);
    }
}

TEST_CASE_METHOD(Attacked, "numbers in a record that are out of range are absent", "[attacks]") {
    NEEDS_USERS();
    const auto jobs = make_directory(a / "jobs", user_a, 0755);
    const std::vector<std::pair<std::string, Json>> values{{"/code", 256},   {"/code", -1},
                                                           {"/code", 1e300}, {"/signal", 0},
                                                           {"/signal", 65},  {"/signal", "9"}};
    for (const auto& [key, value] : values) {
        CAPTURE(key, value.dump());
        auto record = record_of_old_job("job");
        record["status"] = "failed";
        record["jobshim"]["exit"].update({{"reason", key == "/code" ? "exit-code" : "signal"},
                                          {"code", nullptr},
                                          {"signal", nullptr},
                                          {"waitStatus", nullptr}});
        record["jobshim"]["exit"][Json::json_pointer(key)] = value;
        make_file(jobs / "job.json", user_a, 0644, record.dump());
        const auto seen = play_ctl(user_a, {"wait", "--mirror", jobs / "job.json"});
        INFO(said(seen));
        judge("out of range", seen.code() > 0, is_unknown);
    }
}
