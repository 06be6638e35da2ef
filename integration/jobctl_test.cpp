// jobctl: how jobs are named, what is printed, and the exit status.

#include <signal.h>

#include <algorithm>
#include <set>

#include "integration/strace.hpp"
#include "integration/support.hpp"

using namespace harness;

namespace {

Words ids_of(const Json& list) {
    Words ids;
    for (const auto& job : list) ids.push_back(at(job, "/id").get<std::string>());
    return ids;
}

/// status, wait and result give the same verdict and the same exit status.
void check_agree(Sandbox& box, const fs::path& job, const std::string& status, int code) {
    CHECK(box.ctl({"status", job}).code() == code);
    CHECK(box.ctl({"wait", job}).code() == code);
    CHECK(box.ctl({"result", job}).code() == code);
    CHECK(at(box.ctl_json({"status", job}), "/0/status") == status);
    CHECK(at(box.ctl_json({"wait", job}), "/0/status") == status);
    CHECK(at(box.ctl_json({"result", job}), "/status") == status);
    CHECK(at(read_json(job), "/status") == status);
}

}  // namespace

TEST_CASE_METHOD(Sandbox, "a job is named by its id or an id prefix or its file", "[quick][libc]") {
    for (const char* id : {"alpha-1", "alpha-12", "beta"})
        CHECK(run_shim({"--id", id, "--", "sh", "-c", "exit 0"}).code() == 0);
    const auto jobs = dir / "state/jobshim/jobs";
    struct Row {
        std::string name, id;
        int code;
    };
    for (const auto& [name, id, code] :
         {Row{"alpha-1", "alpha-1", 0}, Row{"alpha-12", "alpha-12", 0}, Row{"b", "beta", 0},
          Row{jobs / "beta.json", "beta", 0}, Row{"alph", "", 2}, Row{"gamma", "", 4},
          Row{"./beta", "", 4}, Row{"beta.json", "", 4}, Row{jobs / "gamma.json", "", 4}}) {
        CAPTURE(name);
        const auto result = ctl({"status", name});
        INFO(result.out << result.err);
        CHECK(result.ended() == "exit " + std::to_string(code));
        if (code == 0) CHECK(contains(result.out, id));
        if (code == 0) CHECK(ids_of(ctl_json({"status", name})) == Words{id});
        if (code == 4) CHECK(contains(result.err, name));
        if (code == 2) CHECK(contains(result.err, "alpha-1"));
        if (code == 2) CHECK(contains(result.err, "alpha-12"));
    }
    CHECK(ctl({"status", "beta.json"}, {.cwd = jobs}).ended() == "exit 0");
    CHECK(ctl({"status", "./beta.json"}, {.cwd = jobs}).ended() == "exit 0");

    // Other directories, several of them.
    fs::create_directories(dir / "one");
    fs::create_directories(dir / "two");
    run_job(dir / "one/left.json", "exit 0");
    run_job(dir / "two/right.json", "exit 1");
    CHECK(ctl({"status", "--dir", dir / "one", "left"}).ended() == "exit 0");
    CHECK(ctl({"status", "--dir", dir / "one", "right"}).ended() == "exit 4");
    CHECK(ctl({"status", "--dir", dir / "one", "--dir", dir / "two", "right"}).ended() == "exit 1");
    CHECK(ids_of(ctl_json({"list", "--dir", dir / "one", "--dir", dir / "two"})) ==
          Words{"right", "left"});
}

TEST_CASE_METHOD(Sandbox, "the exit status gives the state of the job or of the worst of several",
                 "[quick]") {
    run_job(dir / "good.json", "exit 0");
    run_job(dir / "bad.json", "exit 1");
    run_job(dir / "killed.json", "kill -9 $$");
    run_job(dir / "off.json",
            until_running + R"(echo '{"id":"off","status":"cancelled"}' > off.json)");
    put(dir / "queued.json", R"({"id":"queued","status":"queued"})");
    put(dir / "odd.json", R"({"id":"odd","status":"running"})");
    put(dir / "word.json", R"({"id":"word","status":"pondering"})");
    auto shim = start_job(dir / "busy.json", until_go);
    worker_of(dir / "busy.json");
    struct Row {
        Words names;
        int code;
    };
    for (const auto& [names, code] :
         {Row{{"good"}, 0}, Row{{"bad"}, 1}, Row{{"killed"}, 1}, Row{{"off"}, 5},
          Row{{"queued"}, 3}, Row{{"busy"}, 3}, Row{{"odd"}, 6}, Row{{"word"}, 6}, Row{{"none"}, 4},
          Row{{"good", "bad"}, 1}, Row{{"good", "busy"}, 3}, Row{{"busy", "off"}, 5},
          Row{{"off", "bad", "busy"}, 1}, Row{{"bad", "odd"}, 6}, Row{{"odd", "bad", "none"}, 4}}) {
        CAPTURE(Json(names).dump());
        Words arguments{"status", "--dir", dir};
        arguments.insert(arguments.end(), names.begin(), names.end());
        const auto result = ctl(arguments);
        INFO(result.out << result.err);
        CHECK(result.code() == code);
        for (const auto& name : names) CHECK(contains(result.out + result.err, name));
    }
    check_agree(*this, dir / "good.json", "completed", 0);
    check_agree(*this, dir / "bad.json", "failed", 1);
    check_agree(*this, dir / "killed.json", "failed", 1);
    check_agree(*this, dir / "off.json", "cancelled", 5);
    put(dir / "go", "");
    shim.wait();
}

TEST_CASE_METHOD(Sandbox, "the output of --json has the same shape everywhere", "[quick][libc]") {
    run_job(job, "exit 3", {"--id", "shape"});
    const auto check_shape = [&](const Json& one) {
        CHECK(at(one, "/id") == "shape");
        CHECK(at(one, "/file") == job.string());
        CHECK(at(one, "/status") == "failed");
        CHECK(at(one, "/verdict/state") == "failed");
        CHECK(at(one, "/verdict/because").is_string());
        CHECK(at(one, "/verdict").contains("lastBeatAgeMs"));
        CHECK(at(one, "/job") == read_json(job));
    };
    for (const char* command : {"status", "wait"}) {
        CAPTURE(command);
        const auto printed = ctl_json({command, job});
        REQUIRE(printed.is_array());
        REQUIRE(printed.size() == 1);
        check_shape(printed.front());
    }
    check_shape(ctl_json({"list", "--dir", dir}).at(0));
    check_shape(ctl_json({"result", job}));
    CHECK(ctl_json({"list", "--dir", dir / "empty"}) == Json::array());

    auto shim = start_job(dir / "busy.json", until_go);
    worker_of(dir / "busy.json");
    const auto busy = ctl_json({"status", dir / "busy.json"});
    CHECK(at(busy, "/0/verdict/state") == "running");
    CHECK(at(busy, "/0/verdict/lastBeatAgeMs").is_number());
    put(dir / "go", "");
    shim.wait();
}

TEST_CASE_METHOD(Sandbox,
                 "a host's record that no JSON library accepts is printed as JSON all the same",
                 "[quick]") {
    put(job, R"({"id":"odd","lone":"\ud83d","huge":1e400})");
    run_job(job, "exit 0");
    CHECK(ctl({"status", job}).ended() == "exit 0");
    const auto printed = ctl({"result", "--json", job});
    CHECK(printed.ended() == "exit 0");
    CHECK(contains(printed.out, "\"completed\""));
    if (in_path("node"))
        CHECK(run({"node", "-e",
                   "JSON.parse(require('fs').readFileSync(0, 'utf8')).job.id === 'odd' || "
                   "process.exit(1)"},
                  {.input = printed.out})
                  .ended() == "exit 0");
}

TEST_CASE_METHOD(Sandbox, "result shows the reason and the signal and the end of the log",
                 "[quick]") {
    run_job(job, "echo the last words; kill -9 $$", {"--log", dir / "log"});
    const auto result = ctl({"result", job});
    CHECK(result.ended() == "exit 1");
    CHECK(contains(result.out, "SIGKILL"));
    CHECK(contains(result.out, "the last words"));
    const auto exit = at(ctl_json({"result", job}), "/job/jobshim/exit");
    CHECK(exit == exit_of(job));
    CHECK(at(exit, "/durationMs").is_number_integer());
    for (const char* counter : {"userMs", "systemMs", "maxRssKiB"})
        CHECK(at(exit, std::string("/resources/") + counter).is_number_integer());
}

TEST_CASE_METHOD(Sandbox, "list is newest first and filters and copes with a broken file",
                 "[quick]") {
    for (const auto& [name, script] : {std::pair{"first", "exit 0"}, std::pair{"second", "exit 1"},
                                       std::pair{"third", "exit 0"}})
        run_job(dir / (std::string(name) + ".json"), script,
                {"--title", std::string("the ") + name + " job"});
    CHECK(ids_of(ctl_json({"list", "--dir", dir})) == Words{"third", "second", "first"});
    CHECK(ids_of(ctl_json({"list", "--dir", dir, "--status", "failed"})) == Words{"second"});
    CHECK(ids_of(ctl_json({"list", "--dir", dir, "--status", "failed", "--status", "completed"}))
              .size() == 3);
    CHECK(ids_of(ctl_json({"list", "--dir", dir, "--status", "running"})).empty());

    put(dir / "zebra.json", "{\"id\": ");
    fs::create_directory(dir / "directory.json");
    fs::create_symlink("nowhere", dir / "dangling.json");
    const auto table = ctl({"list", "--dir", dir});
    CHECK(table.ended() == "exit 0");
    CHECK(table.out.find("third") < table.out.find("second"));
    CHECK(table.out.find("second") < table.out.find("first"));
    CHECK(contains(table.out, "the second job"));
    const auto all = lines_of(table.out + table.err);
    CHECK(std::count_if(all.begin(), all.end(),
                        [](const auto& line) { return contains(line, "zebra"); }) == 1);
    CHECK(slurp(dir / "zebra.json") == "{\"id\": ");
    CHECK(names_in(dir, ".corrupt-").empty());
    auto ids =
        ids_of(ctl_json({"list", "--dir", dir, "--status", "completed", "--status", "failed"}));
    CHECK(ids == Words{"third", "second", "first"});
}

TEST_CASE_METHOD(Sandbox, "list shows no duration that cannot be") {
    const auto line_for = [&](const std::string& ms) {
        put(job, R"({"id":"j","status":"completed","title":"t","jobshim":{"exit":{"durationMs":)" +
                     ms + "}}}");
        return lines_of(ctl({"list", "--dir", dir}).out).at(1);
    };
    CHECK(contains(line_for("90000"), "1 min 30 s"));
    for (const char* ms : {"-90000", "3153600000001", "9223372036854775807", "null"}) {
        CAPTURE(ms);
        CHECK(line_for(ms) == "j   completed  -        -         t");
    }
}

TEST_CASE_METHOD(Sandbox, "a job is also found by its own id which need not be its file's name") {
    put(dir / "review.json", R"({"id":"review-17"})");
    run_job(dir / "review.json", "exit 5");
    run_job(dir / "other.json", "true", {"--id", "review-18"});
    for (const auto& [name, code] :
         {std::pair{"review-17", 1}, {"review-18", 0}, {"review", 1}, {"review-1", 2}}) {
        CAPTURE(name);
        CHECK(ctl({"status", "--dir", dir, name}).code() == code);
    }
    CHECK(ctl({"status", "--dir", dir, "review-19"}).code() == 4);
}

TEST_CASE_METHOD(Sandbox, "while a new run begins the old end in its file is not the verdict",
                 "[quick]") {
    run_job(job, "exit 9");
    // Delayed right after it has the locks: the record is still the previous run's.
    if (!in_path("strace")) SKIP_TEST("no strace");
    auto next = spawn(
        under_strace(dir / "trace",
                     {"-e", "trace=fallocate", "-e", "inject=fallocate:delay_enter=700000:when=1"},
                     {jobshim, "-j", job, "--", "true"}));
    REQUIRE(wait_until([&] { return shim_lock_is_held(heartbeat_of(job)); }));
    CHECK(at(read_json(job), "/status") == "failed");
    for (const char* command : {"status", "result"}) {
        CAPTURE(command);
        const auto result = ctl({command, job});
        CHECK(result.ended() == "exit 3");
        CHECK(contains(result.out, "running"));
    }
    CHECK(ctl({"wait", job}).ended() == "exit 0");
    CHECK(next.wait().ended() == "exit 0");
}
