// The job file belongs to the host as well: what jobshim keeps, what it sets, and what it never
// changes.

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <regex>
#include <set>

#include "integration/support.hpp"

using namespace harness;

namespace {

// Scans the top level of a JSON object and changes nothing: the programs must not be judged by the
// library that they use, which cannot read all of this.
struct Member {
    std::string name;    // decoded if possible
    std::string before;  // everything up to the value: white space, key, colon
    std::string value;
    std::string after;  // white space
};

struct Shape {
    std::string before, after;  // outside the braces
    std::vector<Member> members;
    const Member* find(const std::string& name) const {
        const Member* last = nullptr;  // as in JSON.parse, the last one counts
        for (const auto& member : members)
            if (member.name == name) last = &member;
        return last;
    }
};

class Scanner {
public:
    explicit Scanner(const std::string& text) : text_(text) {}

    Shape take_apart() {
        Shape shape;
        shape.before = spaces();
        expect('{');
        for (;;) {
            Member member;
            member.before = spaces();
            if (text_.at(at_) == '}') break;
            const auto key = string();
            member.before += key;
            const auto name = Json::parse(key, nullptr, false);
            member.name = name.is_string() ? name.get<std::string>() : key;
            member.before += spaces();
            expect(':');
            member.before += ":" + spaces();
            member.value = value();
            member.after = spaces();
            shape.members.push_back(member);
            if (text_.at(at_) != ',') break;
            ++at_;
        }
        expect('}');
        shape.after = text_.substr(at_);
        return shape;
    }

private:
    void expect(char wanted) {
        if (text_.at(at_) != wanted)
            throw std::runtime_error("not JSON at byte " + std::to_string(at_));
        ++at_;
    }
    std::string spaces() {
        const auto end = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size());
        return cut(end);
    }
    std::string string() {
        auto end = at_;
        expect('"');
        for (end = at_; text_.at(end) != '"'; ++end)
            if (text_[end] == '\\') ++end;
        --at_;
        return cut(end + 1);
    }
    std::string value() {
        std::string found;
        for (int depth = 0;;) {
            const char c = text_.at(at_);
            if (depth == 0 && (c == ',' || c == '}' || std::isspace(static_cast<unsigned char>(c))))
                return found;
            if (c == '"') {
                found += string();
                continue;
            }
            depth += (c == '{' || c == '[') - (c == '}' || c == ']');
            found += c;
            ++at_;
        }
    }
    std::string cut(std::size_t end) {
        auto piece = text_.substr(at_, end - at_);
        at_ = end;
        return piece;
    }

    const std::string& text_;
    std::size_t at_ = 0;
};

Shape shape_of(const std::string& text) { return Scanner(text).take_apart(); }

const std::set<std::string> ours{"status",    "phase",       "pid",          "startedAt",
                                 "updatedAt", "completedAt", "errorMessage", "jobshim"};

/// What is left of `text` without our values, and without those keys of ours that `original` lacks.
std::string host_part(const std::string& text, const std::string& original,
                      const std::set<std::string>& own = ours) {
    const auto shape = shape_of(text);
    const auto had = shape_of(original);
    const std::set<std::string> only_if_absent{"id",  "title",   "command",
                                               "cwd", "logFile", "createdAt"};
    std::string rest = shape.before + "{";
    std::vector<std::string> members;
    for (const auto& member : shape.members) {
        const bool is_own = own.contains(member.name);
        if ((is_own || only_if_absent.contains(member.name)) && !had.find(member.name)) continue;
        members.push_back(member.before + (is_own ? "OURS" : member.value) + member.after);
    }
    // New members may follow the last value directly: then the white space after it belongs to
    // them.
    if (!members.empty()) members.back().erase(members.back().find_last_not_of(" \t\r\n") + 1);
    for (const auto& member : members) rest += member + ",";
    return rest + "}" + shape.after;
}

Json member(const std::string& text, const std::string& name) {
    const auto shape = shape_of(text);
    const auto* found = shape.find(name);
    return found ? Json::parse(found->value) : Json("<missing>");
}

}  // namespace

TEST_CASE_METHOD(Sandbox,
                 "everything the host wrote stays as it was byte for byte and in its place",
                 "[quick]") {
    const std::string odd =
        " \r\n{\r\n\t\"zeta\" : 1.10 ,\"big\":123456789012345678901234567890,\"exp\" "
        ":1E5,\"huge\":1e400,\"tiny\":-0.0,\r\n"
        "  \"status\" :\t\"queued\" ,\r\n"
        "  \"twice\":1,\"twice\":{\"status\":\"mine\",\"pid\" :  1,\"deep\":[1,2 , "
        "3,[],{}]},\"twice\":null,\n"
        "\t\"surrogate\":\"\\ud83d\",\"\\ud83d\":\"key\",\"pair\":\"\\ud83d\\ude00\",\"raw\":"
        "\"\xf0\x9f\x98\x80\","
        "\"sl\\u0061sh\\/key\":\"a\\/b\\u0000\\\\\\\"\",\"\":\"empty\",\"pid\":   4711,\n"
        "\"title\":\"the host's "
        "own\",\"jobs\":[{\"jobshim\":{\"schema\":9}}],\"updatedAt\":0,\"brackets\":\"}],{\\\"\",\n"
        "\"command\":\"words\",\"logFile\":null,\"createdAt\":\"yesterday\",\"cwd\":\"/"
        "nowhere\",\"id\":\"odd-1\",\"last\" :true \r\n}\r\n";
    for (const std::string script : {"exit 0", "exit 3", "kill -9 $$"}) {
        CAPTURE(script);
        put(job, odd);
        run_job(job, script);
        const auto text = slurp(job);
        CHECK(host_part(text, odd) == host_part(odd, odd));
        CHECK(member(text, "status") == (script == "exit 0" ? "completed" : "failed"));
        CHECK(member(text, "pid") == nullptr);
        CHECK(at(member(text, "jobshim"), "/exit/certainty") == "observed");
    }
}

TEST_CASE_METHOD(Sandbox, "host files of every plain shape are adopted") {
    const std::string deep = std::string(400, '[') + std::string(400, ']');
    for (const std::string& before :
         {std::string("{}"), std::string("{ }\n"), std::string("{\"a\":1}"),
          std::string("{\n  \"a\": 1\n}\n"), std::string("{\"phase\":null}"),
          std::string("{\"jobshim\":null,\"b\":[]}"), "{\"deep\":" + deep + "}",
          std::string("{\"status\":\"a word of the host\"}"),
          std::string("{\"exit\":{\"code\":5},\"worker\":{\"pid\":1}}")}) {
        CAPTURE(before.substr(0, 80));
        put(job, before);
        CHECK(run_job(job, "exit 4").code() == 4);
        const auto text = slurp(job);
        CHECK(host_part(text, before) == host_part(before, before));
        CHECK(member(text, "status") == "failed");
        CHECK(at(member(text, "jobshim"), "/exit/code") == 4);
        CHECK(names_in(dir, ".corrupt-").empty());
    }
}

TEST_CASE_METHOD(
    Sandbox, "our own keys are found however they are spelt or repeated and the last one counts",
    "[quick]") {
    for (const std::string before :
         {R"({"st\u0061tus":"queued","x":1})", R"({"status":"queued","status":"queued","x":1})"}) {
        CAPTURE(before);
        put(job, before);
        CHECK(run_job(job, "exit 0").code() == 0);
        CHECK(member(slurp(job), "status") == "completed");
        CHECK(member(slurp(job), "x") == 1);
    }
}

TEST_CASE_METHOD(Sandbox, "a final status that the worker wrote itself is never changed") {
    struct Row {
        std::string status, end, ended;
        int code;
    };
    const auto written = dir / "written.json";
    for (const auto& [status, end, ended, code] :
         {Row{"completed", "exit 0", "exit 0", 0}, Row{"completed", "exit 1", "exit 1", 0},
          Row{"completed", "kill -9 $$", "SIGKILL", 0}, Row{"failed", "exit 0", "exit 0", 1},
          Row{"cancelled", "exit 0", "exit 0", 5}}) {
        for (const std::string how :
             {"cat written.json > job.json", "cp written.json w.tmp && mv w.tmp job.json"}) {
            for (const Words& extra : {Words{}, Words{"--expect-record"}}) {
                CAPTURE(status, end, how, extra.size());
                put(job, R"({"id":"w-1","status":"queued","keep":[1]})");
                put(written, "{\"id\":\"w-1\",\"status\":\"" + status +
                                 "\",\"phase\":\"as it likes\",\"result\":{\"answer\" : "
                                 "42},\"errorMessage\":\"its own\",\"updatedAt\":\"then\"}\n");
                CHECK(run_job(job, until_running + how + "; " + end, extra).ended() == ended);
                const auto text = slurp(job);
                CHECK(host_part(text, slurp(written), {"pid", "completedAt", "jobshim"}) ==
                      host_part(slurp(written), slurp(written), {"pid", "completedAt", "jobshim"}));
                CHECK(member(text, "status") == status);
                CHECK(member(text, "pid") == nullptr);
                CHECK(member(text, "completedAt").is_string());
                CHECK(at(member(text, "jobshim"), "/exit/certainty") == "observed");
                CHECK(ctl({"status", job}).code() == code);
            }
        }
    }
}

// Of such an identity only a part is read back. The shim must still know its own record, or it
// would take the worker's word for another run's.
TEST_CASE_METHOD(Sandbox, "a machine id and a host name that no record can hold do no harm") {
    if (!child_can(enter_private_mounts)) SKIP_TEST("cannot create a mount namespace (needs root)");
    if (!fs::exists("/etc/machine-id")) SKIP_TEST("no machine id");
    put(dir / "odd", "uninitialized\n");
    const auto be_odd = [this] {
        enter_private_mounts();
        must(mount((dir / "odd").c_str(), "/etc/machine-id", nullptr, MS_BIND, nullptr), "bind");
        must(unshare(CLONE_NEWUTS), "unshare");
        must(sethostname("h\xff", 2), "sethostname");
    };
    run_job(job, until_running + R"(echo '{"status":"completed"}' > "$JOBSHIM_JOB_FILE"; exit 1)",
            {}, {.before_exec = be_odd});
    CHECK(member(slurp(job), "status") == "completed");
    const auto shim = at(member(slurp(job), "jobshim"), "/shim");
    CHECK(at(shim, "/machineId") == nullptr);
    CHECK(at(shim, "/host") == "h\uFFFD");
}

TEST_CASE_METHOD(Sandbox, "the worker's own completedAt stays") {
    run_job(
        job,
        until_running +
            R"(echo '{"status":"completed","completedAt":"at tea time"}' > "$JOBSHIM_JOB_FILE")");
    CHECK(member(slurp(job), "completedAt") == "at tea time");
}

TEST_CASE_METHOD(Sandbox, "exit 0 without a record is not a success where a record is expected",
                 "[quick]") {
    CHECK(run_job(job, "exit 0", {"--expect-record"}).ended() == "exit 0");
    const auto record = read_json(job);
    CHECK(at(record, "/status") == "failed");
    CHECK(at(record, "/errorMessage").is_string());
    CHECK(at(record, "/jobshim/exit/reason") == "no-result");
    CHECK(at(record, "/jobshim/exit/code") == 0);

    CHECK(run_job(job, "exit 3", {"--expect-record"}).ended() == "exit 3");
    CHECK(at(exit_of(job), "/reason") == "exit-code");
}

TEST_CASE_METHOD(Sandbox,
                 "a file that is not a JSON object is moved aside with a message and the job runs",
                 "[quick]") {
    const Words broken{R"({"id":"x","st)", "[1,2]",       "\"text\"",
                       "{} trailing",      R"({"a":01})", std::string("\0\0\0\0", 4),
                       "{\"a\":\"\n\"}"};
    std::vector<Process> shims;
    for (std::size_t i = 0; i < broken.size(); ++i) {
        // Each is given a second, so they run in parallel.
        const auto directory = dir / std::to_string(i);
        fs::create_directory(directory);
        put(directory / "job.json", broken[i]);
        shims.push_back(start_job(directory / "job.json", "exit 6"));
    }
    for (std::size_t i = 0; i < broken.size(); ++i) {
        CAPTURE(broken[i]);
        const auto directory = dir / std::to_string(i);
        const auto result = shims[i].wait();
        CHECK(result.ended() == "exit 6");
        CHECK(contains(result.err, "job.json"));
        const auto aside = names_in(directory, "job.json.corrupt-");
        REQUIRE(aside.size() == 1);
        CHECK(slurp(directory / aside.front()) == broken[i]);
        CHECK(at(exit_of(directory / "job.json"), "/code") == 6);
    }
}

TEST_CASE_METHOD(Sandbox, "a file that is torn only for a moment is waited for") {
    put(job, R"({"id":"slow","ke)");
    auto shim = start_job(job, "exit 0");
    // The writer comes back well within the second that it is given.
    CHECK_FALSE(
        wait_until([&] { return fs::exists(heartbeat_of(job)) && !shim.running(); }, 100ms));
    put(job, R"({"id":"slow","keep":"this"})");
    CHECK(shim.wait().ended() == "exit 0");
    CHECK(at(read_json(job), "/keep") == "this");
    CHECK(at(read_json(job), "/status") == "completed");
    CHECK(names_in(dir, ".corrupt-").empty());
}

TEST_CASE_METHOD(Sandbox,
                 "a file torn during the run is set aside and the last good copy carries on",
                 "[quick]") {
    put(job, R"({"id":"t-1","keep":"this"})");
    const auto result =
        run_job(job, until_running + R"(printf '{"id":"t-1","ke' > job.json; exit 3)");
    CHECK(result.ended() == "exit 3");
    CHECK(at(read_json(job), "/keep") == "this");
    CHECK(at(exit_of(job), "/code") == 3);
    const auto aside = names_in(dir, "job.json.corrupt-");
    REQUIRE(aside.size() == 1);
    CHECK(slurp(dir / aside.front()) == R"({"id":"t-1","ke)");
}

TEST_CASE_METHOD(Sandbox, "a job file that is run again keeps the last exit as previous",
                 "[quick]") {
    for (const bool adopted : {false, true}) {
        CAPTURE(adopted);
        const auto file = dir / (adopted ? "adopted.json" : "ours.json");
        if (adopted) put(file, R"({"night":"ly"})");
        Json previous = nullptr, created = "<missing>";
        for (const int code : {3, 0, 5}) {
            CAPTURE(code);
            CHECK(run_job(file, "exit " + std::to_string(code)).code() == code);
            const auto record = read_json(file);
            CHECK(at(record, "/status") == (code == 0 ? "completed" : "failed"));
            CHECK((at(record, "/errorMessage") == nullptr) == (code == 0));
            CHECK(at(record, "/jobshim/exit/code") == code);
            CHECK(at(record, "/jobshim/previous") == previous);
            CHECK((created == "<missing>" || at(record, "/createdAt") == created));
            previous = at(record, "/jobshim/exit");
            created = at(record, "/createdAt");
        }
    }
}

TEST_CASE_METHOD(Sandbox, "while a job runs its record says so and the old exit is gone from it",
                 "[quick]") {
    put(job, "{}");
    run_job(job, "exit 3");
    auto shim = start_job(job, until_go);
    const auto worker = worker_of(job);
    const auto record = read_json(job);
    CHECK(at(record, "/status") == "running");
    CHECK(at(record, "/completedAt") == nullptr);
    CHECK(at(record, "/errorMessage") == nullptr);
    CHECK(at(record, "/jobshim/exit") == nullptr);
    CHECK(at(record, "/jobshim/previous/code") == 3);
    CHECK(at(record, "/jobshim/schema") == 1);
    CHECK(at(record, "/jobshim/shim/pid") == shim.pid());
    CHECK(at(record, "/jobshim/heartbeat/intervalMs") == 5000);
    CHECK(at(record, "/jobshim/onShimDeath") == "kill");
    CHECK(process_stat(worker).parent == shim.pid());
    CHECK(fs::path(at(record, "/jobshim/heartbeat/file").get<std::string>()).filename() ==
          "job.heartbeat");
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 0");
}

TEST_CASE_METHOD(Sandbox,
                 "a host that rewrites the file in place while the job runs loses nothing") {
    for (const bool merges : {true, false}) {
        CAPTURE(merges);
        fs::remove(dir / "go");
        Json host{{"id", "host-1"}, {"status", "running"}, {"counter", 0}};
        put(job, host.dump());
        auto shim = start_job(job, until_go + "exit 3", {"--heartbeat-interval", "100ms"});
        worker_of(job);
        for (int i = 1; i <= 100; ++i) {
            // One host reads, changes and writes; the other only ever writes what it has in memory.
            if (merges) host = read_json(job);
            host["counter"] = i;
            put(job, host.dump(2));
            wait_until([] { return false; }, 2ms);
        }
        put(dir / "go", "");
        CHECK(shim.wait().ended() == "exit 3");
        const auto record = read_json(job);
        CHECK(at(record, "/counter") == 100);
        CHECK(at(record, "/id") == "host-1");
        CHECK(at(record, "/status") == "failed");
        CHECK(at(record, "/phase") == "failed");
        CHECK(at(record, "/jobshim/exit/code") == 3);
        CHECK(names_in(dir, ".corrupt-").empty());
    }
}

TEST_CASE_METHOD(Sandbox,
                 "any reader corrects a stale running status that the host writes back late") {
    for (const bool with_our_keys : {true, false}) {
        CAPTURE(with_our_keys);
        fs::remove(dir / "go");
        fs::remove(job);
        fs::remove(heartbeat_of(job));
        put(job, R"({"id":"late-1","status":"queued"})");
        auto shim = start_job(job, until_go + "exit 0");
        worker_of(job);
        const auto old =
            with_our_keys ? slurp(job) : R"({"id":"late-1","status":"running","host":1})";
        put(dir / "go", "");
        CHECK(shim.wait().ended() == "exit 0");
        put(job, old);
        CHECK(ctl({"status", job}).code() == 0);
        CHECK(at(read_json(job), "/status") == "completed");
        CHECK(at(exit_of(job), "/reason") == "success");
    }
}

TEST_CASE_METHOD(Sandbox, "a second shim for the same job is refused and harms nothing",
                 "[quick]") {
    put(job, R"({"host":"key"})");
    auto shim = start_job(job, until_go + "exit 3");
    worker_of(job);
    const auto record = slurp(job), heartbeat = slurp(heartbeat_of(job));
    fs::create_symlink(job, dir / "alias.json");
    for (const auto& name : {job, dir / "alias.json"}) {
        CAPTURE(name);
        const auto second = run_job(name, "touch marker");
        CHECK(second.ended() == "exit 125");
        CHECK(contains(second.err, "job.json"));
        CHECK_FALSE(fs::exists(dir / "marker"));
        CHECK(slurp(job) == record);
        CHECK(slurp(heartbeat_of(job)) == heartbeat);
        CHECK(shim_lock_is_held(heartbeat_of(job)));
    }
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 3");
    CHECK(at(exit_of(job), "/code") == 3);
}

TEST_CASE_METHOD(Sandbox, "a shim started while readers settle the previous run is not refused") {
    for (int i = 0; i < 10; ++i) {
        CAPTURE(i);
        auto lost = start_job(job, for_ever);
        kill_shim(lost, job);
        std::vector<Process> readers;
        for (int k = 0; k < 4; ++k) readers.push_back(spawn({jobctl, "reap", "--dir", dir}));
        CHECK(run_job(job, "exit 0").ended() == "exit 0");
        for (auto& reader : readers) CHECK(reader.wait().ended() == "exit 0");
        CHECK(at(read_json(job), "/status") == "completed");
        CHECK(at(exit_of(job), "/reason") == "success");
    }
}

TEST_CASE_METHOD(Sandbox, "a symlinked job file is resolved once and stays a link",
                 "[quick][libc]") {
    fs::create_directories(dir / "real");
    put(dir / "real" / "job.json", R"({"host":1})");
    fs::create_symlink(dir / "real" / "job.json", dir / "link.json");
    fs::create_symlink("real/new.json",
                       dir / "dangling.json");  // its directory exists, so the target is created
    for (const auto& [link, target] :
         {std::pair{dir / "link.json", dir / "real" / "job.json"},
          std::pair{dir / "dangling.json", dir / "real" / "new.json"}}) {
        CAPTURE(link);
        auto shim = start_job(link, until_go + "exit 3");
        worker_of(target);
        CHECK(shim_lock_is_held(heartbeat_of(target)));
        put(dir / "go", "");
        CHECK(shim.wait().ended() == "exit 3");
        fs::remove(dir / "go");
        CHECK(fs::is_symlink(link));
        CHECK(at(exit_of(target), "/code") == 3);
        CHECK(ctl({"status", link}).code() == 1);
    }
    CHECK(at(read_json(dir / "real" / "job.json"), "/host") == 1);
}

TEST_CASE_METHOD(
    Sandbox,
    "arguments and a directory that are not UTF-8 are kept exactly beside their readable form",
    "[quick][libc]") {
    const std::string argument = "caf\xe9 \xff", directory = "d\xe9j\xe0";
    fs::create_directory(dir / directory);
    const auto result =
        run_shim({"-j", job, "--", "printf", "%s", argument}, {.cwd = dir / directory});
    CHECK(result.ended() == "exit 0");
    CHECK(result.out == argument);

    const auto record = read_json(job);
    const std::string replacement = "\xef\xbf\xbd";
    CHECK(contains(at(record, "/command").dump(), "caf" + replacement + " " + replacement));
    CHECK(contains(at(record, "/cwd").dump(), "d" + replacement + "j" + replacement));
    const auto raw = at(record, "/jobshim/raw").dump();
    CHECK(contains(raw, "\"" + base64(argument) + "\""));
    CHECK(contains(raw, "\"" + base64((dir / directory).string()) + "\""));

    CHECK(run_job(dir / "plain.json", "exit 0").code() == 0);
    CHECK_FALSE(contains(at(read_json(dir / "plain.json"), "/jobshim").dump(), "\"raw\":{"));
}

TEST_CASE_METHOD(Sandbox, "the host's file keeps its mode and owner and a new file is private",
                 "[quick]") {
    const Options loose{.before_exec = [] { umask(0); }};
    const auto mode_of = [](const fs::path& file) {
        struct stat info {};
        REQUIRE(stat(file.c_str(), &info) == 0);
        return info;
    };
    for (const mode_t mode : {0640U, 0604U, 0666U}) {
        put(job, "{}");
        REQUIRE(chmod(job.c_str(), mode) == 0);
        if (geteuid() == 0) REQUIRE(chown(job.c_str(), 12345, 23456) == 0);
        run_job(job, "exit 0", {}, loose);
        CHECK((mode_of(job).st_mode & 07777) == mode);
        if (geteuid() == 0) CHECK(mode_of(job).st_uid == 12345);
        if (geteuid() == 0) CHECK(mode_of(job).st_gid == 23456);
    }
    run_job(dir / "new.json", "exit 0", {}, loose);
    CHECK((mode_of(dir / "new.json").st_mode & 07777) == 0600);
    run_shim({"--id", "made", "--", "true"}, loose);
    CHECK((mode_of(dir / "state/jobshim/jobs").st_mode & 07777) == 0700);
    CHECK((mode_of(dir / "state/jobshim/jobs/made.json").st_mode & 07777) == 0600);
}

TEST_CASE_METHOD(Sandbox,
                 "the id comes from the file or else from --id or else from the file name") {
    const auto id_after = [&](const std::string& name, const std::optional<std::string>& content,
                              const Words& extra = {}) {
        if (content) put(dir / name, *content);
        CHECK(run_job(dir / name, "exit 0", extra).ended() == "exit 0");
        return at(read_json(dir / name), "/id");
    };
    CHECK(id_after("own.json", R"({"id":"of-the-file"})") == "of-the-file");
    CHECK(id_after("same.json", R"({"id":"of-the-file"})", {"--id", "of-the-file"}) ==
          "of-the-file");
    CHECK(id_after("given.json", "{}", {"--id", "given.1_x"}) == "given.1_x");
    CHECK(id_after("fresh.json", std::nullopt, {"--id", "given"}) == "given");
    CHECK(id_after("na me!.v2.json", std::nullopt) == "na-me-.v2");

    put(job, R"({"id":"mine","x":1})");
    const auto before = slurp(job);
    const auto refused = run_job(job, "touch marker", {"--id", "yours"});
    CHECK(refused.ended() == "exit 125");
    CHECK(contains(refused.err, "mine"));
    CHECK(slurp(job) == before);
    CHECK_FALSE(fs::exists(dir / "marker"));

    CHECK(run_shim({"--id", "by-id", "--title", "a title", "--", "true"}).ended() == "exit 0");
    CHECK(at(read_json(dir / "state/jobshim/jobs/by-id.json"), "/title") == "a title");

    const auto detached = run_shim({"--detach", "--", "true"});
    const std::regex generated("(job-[0-9a-z]+-[0-9a-z]{6})\n");
    std::smatch match;
    REQUIRE(std::regex_match(detached.out, match, generated));
    CHECK(ctl({"wait", match[1]}).code() == 0);
    CHECK(at(read_json(dir / "state/jobshim/jobs" / (match[1].str() + ".json")), "/id") ==
          match[1].str());
}

TEST_CASE_METHOD(
    Sandbox, "the record gets the end of the log in whole lines and nothing from before the run",
    "[quick]") {
    put(dir / "log", "an old line\n");
    const std::string script = "for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done";
    struct Row {
        std::string bytes, tail;
    };
    for (const auto& [bytes, tail] :
         {Row{"20", "line 8\nline 9\n"}, Row{"2048", ""}, Row{"0", ""}}) {
        CAPTURE(bytes);
        const auto offset = fs::file_size(dir / "log");
        CHECK(run_job(job, script, {"--log", dir / "log", "--tail", bytes}).out.empty());
        CHECK(at(read_json(job), "/jobshim/log/offset") == offset);
        const auto found = at(exit_of(job), "/tail");
        if (bytes == "0") {
            CHECK((found == nullptr || found == ""));
            continue;
        }
        REQUIRE(found.is_string());
        auto text = found.get<std::string>();
        if (!text.ends_with("\n")) text += "\n";  // with or without the last newline
        if (!tail.empty()) CHECK(text == tail);
        if (tail.empty()) CHECK(lines_of(text).size() == 9);
        CHECK_FALSE(contains(text, "old"));
    }
}

TEST_CASE_METHOD(Sandbox,
                 "best effort runs the command even where no record can be kept and says so",
                 "[quick]") {
    const auto result =
        run_job(dir / "nowhere/job.json", "touch marker; exit 7", {"--best-effort"});
    CHECK(result.ended() == "exit 7");
    CHECK_FALSE(result.err.empty());
    CHECK(fs::exists(dir / "marker"));
}

// "No record can be kept" means trouble with a file, not that the job is already running.
TEST_CASE_METHOD(Sandbox, "best effort starts no second worker for a job that is supervised") {
    auto shim = start_job(job, until_go);
    worker_of(job);
    const auto second = run_job(job, "touch second", {"--best-effort"});
    CHECK(second.ended() == "exit 125");
    CHECK(contains(second.err, "supervised"));
    CHECK_FALSE(fs::exists(dir / "second"));
    put(dir / "go", "");
    CHECK(shim.wait().ended() == "exit 0");
}

TEST_CASE_METHOD(Sandbox, "the record shows the command of the run whose end it shows") {
    run_shim({"-j", job, "--", "true"});
    CHECK(at(read_json(job), "/jobshim/command") == "<missing>");
    run_shim({"-j", job, "--", "sh", "-c", "exit 3"});
    CHECK(at(read_json(job), "/command") == Json{"true"});  // set only if absent
    CHECK(at(read_json(job), "/jobshim/command") == Json{"sh", "-c", "exit 3"});
    run_shim({"-j", job, "--", "true"});
    CHECK(at(read_json(job), "/jobshim/command") == "<missing>");
}
