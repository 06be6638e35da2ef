// The schemas in packages/schema, against the code that writes what they describe and against
// docs/record.md. Whether real records are valid is checked after the black-box tests:
// packages/schema/check_records.py.
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "common/job_document.hpp"
#include "common/run_record.hpp"
#include "common/verdict.hpp"
#include "shim/jobctl/job_events.hpp"
#include "shim/jobctl/output.hpp"
#include "tests/catch.hpp"
#include "tests/samples.hpp"

using namespace jobshim;

namespace {

using Names = std::set<std::string>;

std::string text_of_source(const std::string& name) {
    std::ifstream in(std::string(JOBSHIM_SOURCE_DIR) + "/" + name);
    std::ostringstream text;
    text << in.rdbuf();
    REQUIRE(in);
    return text.str();
}

class Schema {
public:
    explicit Schema(const std::string& name)
        : whole_(
              nlohmann::json::parse(text_of_source("packages/schema/" + name + ".schema.json"))) {}

    const nlohmann::json& whole() const { return whole_; }
    const nlohmann::json& type(const std::string& name) const {
        return whole_.at("definitions").at(name);
    }

    // Where there are several possibilities, such as null, the one that is not plain.
    const nlohmann::json& resolved(const nlohmann::json& schema) const {
        if (schema.contains("$ref")) {
            const auto path = schema["$ref"].get<std::string>();
            return path[0] == '#'
                       ? resolved(whole_.at(nlohmann::json::json_pointer(path.substr(1))))
                       : schema;
        }
        if (schema.contains("oneOf") && schema["oneOf"][0].contains("$ref"))
            return resolved(schema["oneOf"][0]);
        return schema;
    }

private:
    nlohmann::json whole_;
};

Names keys_of(const nlohmann::json& object) {
    Names names;
    for (const auto& [key, value] : object.items()) names.insert(key);
    return names;
}

Names words_of(const nlohmann::json& alternatives) {
    Names words;
    for (const auto& each : alternatives.at("oneOf"))
        words.insert(each.at("const").get<std::string>());
    return words;
}

// All that the code has a word for. There are not nearly as many.
template <class Enum>
Names words_in_code() {
    Names words;
    for (int i = 0; i < 64; ++i) words.insert(std::string(word(static_cast<Enum>(i))));
    words.erase("");
    return words;
}

// Everything in `value` is in the schema, and, if `value` has all that there can be, vice versa.
void check_members(const Schema& schema, const nlohmann::json& part, const nlohmann::json& value,
                   bool has_all, const std::string& path) {
    const nlohmann::json& its = schema.resolved(part);
    INFO(path);
    if (value.is_object() && its.contains("properties")) {
        CHECK(keys_of(value) ==
              (has_all ? keys_of(its["properties"]) : its["required"].get<Names>()));
        for (const auto& [key, member] : value.items())
            if (its["properties"].contains(key))
                check_members(schema, its["properties"][key], member, has_all, path + "/" + key);
    } else if (value.is_array()) {
        for (const auto& item : value)
            if (its.contains("items")) check_members(schema, its["items"], item, has_all, path);
    }
}

ExitRecord full_exit() {
    ExitRecord exit;
    exit.reason = ExitReason::spawn_failed;
    exit.certainty = Certainty::observed;
    exit.errno_name = "ENOENT";
    exit.evidence = {"seen"};
    exit.requested_by = Requester{"timeout", 7, 1000, "sh"};
    exit.ended_at = "2026-11-22T17:34:00.123Z";
    exit.resources = Resources{1, 1, 1, 1};
    exit.leftovers = {{77, "sleep"}};
    exit.tail = "end";
    return exit;
}

JobEdit full_edit() {
    const ShimIdentity shim{41, 1, this_boot, this_machine, 4026531836, "host", 4026531999};
    JobEdit edit;
    edit.phase = "failed";
    edit.started_at = edit.updated_at = edit.created_at = "2026-11-22T17:33:00.000Z";
    edit.id = "j";
    edit.title = "make";
    edit.command = {"make"};
    edit.cwd = "/src";
    edit.log_file = "/src/log";
    RunRecord& run = edit.run;
    run.shim = shim;
    run.worker = WorkerIdentity{42, 1, Group::own, 40};
    run.heartbeat_file = "/src/j.heartbeat";
    run.stall_after_ms = 60'000;
    run.expect_record = true;
    run.log = LogStart{"/src/\xff", 0, 9};
    run.cancel = CancelRequest{
        {{"jobctl cancel", 7, 1000, "jobctl"}, "enough"}, edit.updated_at, 15, 1000, 5, shim};
    run.previous = R"({"reason":"success"})";
    run.exit = full_exit();
    run.command = {"make", "all"};
    run.raw_command = {"\xff"};
    run.raw_cwd = "/\xff";
    run.companion_job = "task-1";
    return edit;
}

nlohmann::json json_of_run(const RunRecord& run) { return nlohmann::json::parse(run_text(run)); }

// The rows of the first table under this heading: what is in backticks in the first cell, and in
// the others.
std::map<std::string, Names> table_under(const std::string& heading) {
    const auto in_backticks = [](const std::string& cell) {
        Names names;
        std::size_t at = 0;
        while ((at = cell.find('`', at)) != std::string::npos) {
            const std::size_t end = cell.find('`', at + 1);
            names.insert(cell.substr(at + 1, end - at - 1));
            at = end + 1;
        }
        return names;
    };
    const std::string text = text_of_source("docs/record.md");
    const std::size_t at = text.find("\n" + heading + "\n");
    REQUIRE(at != std::string::npos);
    std::istringstream lines(text.substr(at + heading.size() + 2));
    std::map<std::string, Names> rows;
    for (std::string line; std::getline(lines, line) && !line.starts_with("#");) {
        if (!line.starts_with("| `")) {
            if (rows.empty()) continue;
            break;
        }
        const std::size_t end = line.find(" | ", 2);
        for (const std::string& name : in_backticks(line.substr(0, end)))
            rows[name] = in_backticks(line.substr(end));
    }
    return rows;
}

Names names_in(const std::map<std::string, Names>& rows) {
    Names names;
    for (const auto& [name, rest] : rows) names.insert(name);
    return names;
}

// Each member of a member is in its row, and what is in the row is one, or a word or an option.
void check_rows(const Schema& schema, const nlohmann::json& type,
                const std::map<std::string, Names>& rows) {
    CHECK(names_in(rows) == keys_of(type.at("properties")));
    for (const auto& [name, member] : type.at("properties").items()) {
        INFO(name);
        const nlohmann::json& its = schema.resolved(member);
        const nlohmann::json& inner = its.contains("items") ? schema.resolved(its["items"]) : its;
        const bool has_own_table = name == "exit" || name == "previous";
        if (!inner.contains("properties") || !rows.contains(name) || has_own_table) continue;
        const std::string possible = inner.dump();
        for (const auto& [key, value] : inner["properties"].items())
            CHECK(rows.at(name).count(key));
        for (const std::string& named : rows.at(name)) {
            const bool is_name =
                named.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") ==
                named.npos;
            INFO(named);
            if (is_name) CHECK(possible.find("\"" + named + "\"") != possible.npos);
        }
    }
}

}  // namespace

TEST_CASE("schema: each word of the code is in it and no other") {
    const Schema job("job");
    CHECK(words_of(job.type("JobStatus")) == words_in_code<Status>());
    CHECK(words_of(job.type("ExitReason")) == words_in_code<ExitReason>());
    CHECK(words_of(job.type("Certainty")) == words_in_code<Certainty>());
    CHECK(words_of(Schema("report").type("JobState")) == words_in_code<State>());
    CHECK(words_of(Schema("event").type("JobEventName")) == words_in_code<JobEvent::Kind>());

    Names phases{"queued", "starting", "running"};
    for (const Status status : {Status::completed, Status::failed, Status::cancelled})
        phases.insert(final_phase(status));
    CHECK(words_of(job.type("JobPhase")) == phases);

    Names groups, on_shim_death;
    for (const bool first : {true, false}) {
        RunRecord run;
        run.worker = WorkerIdentity{42, 1, first ? Group::own : Group::share, 40};
        run.kill_on_shim_death = first;
        groups.insert(json_of_run(run)["worker"]["group"].get<std::string>());
        on_shim_death.insert(json_of_run(run)["onShimDeath"].get<std::string>());
    }
    CHECK(words_of(job.type("WorkerIdentity")["properties"]["group"]) == groups);
    CHECK(words_of(job.type("JobRun")["properties"]["onShimDeath"]) == on_shim_death);
}

TEST_CASE("schema: each member that the code writes is in it and no other") {
    const Schema job("job");
    auto record = nlohmann::json::parse(full_edit().as_new_file());
    CHECK(record["jobshim"]["previous"].is_object());
    record["jobshim"]["previous"] = record["jobshim"]["exit"];
    check_members(job, job.whole(), record, true, "");

    // And what is always there is required.
    RunRecord bare;
    bare.shim.pid = 41;
    bare.worker = WorkerIdentity{};
    bare.log = LogStart{"/log", 0};
    bare.cancel = CancelRequest{};
    bare.exit = ExitRecord{};
    bare.exit->requested_by = Requester{};
    bare.exit->resources = Resources{};
    check_members(job, job.type("JobRun"), json_of_run(bare), false, "");

    const Schema report_schema("report");
    JobReport report;
    const auto printed = [&] { return nlohmann::json::parse(json_of(report)); };
    const nlohmann::json& its = report_schema.type("JobReport");
    check_members(report_schema, its, printed(), false, "");
    report.job = doc("{}");
    report.not_recorded = "full";
    check_members(report_schema, its, printed(), true, "");
}

TEST_CASE("schema: docs/record.md names the same members and words") {
    const Schema job("job");
    CHECK(names_in(table_under("## Top-level fields")) == keys_of(job.whole()["properties"]));
    check_rows(job, job.type("JobRun"), table_under("## `jobshim`"));
    check_rows(job, job.type("ExitRecord"), table_under("## `jobshim.exit`"));

    const auto words_in_row = [](const std::map<std::string, Names>& rows, const char* row,
                                 const Names& words) {
        for (const std::string& each : words) {
            INFO(each);
            CHECK(rows.at(row).count(each));
        }
    };
    const auto top = table_under("## Top-level fields");
    CHECK(top.at("status") == words_of(job.type("JobStatus")));
    CHECK(top.at("phase") == words_of(job.type("JobPhase")));
    const auto exit = table_under("## `jobshim.exit`");
    words_in_row(exit, "certainty", words_of(job.type("Certainty")));
    words_in_row(exit, "requestedBy", words_of(job.type("Requester")["properties"]["how"]));
    const std::string text = text_of_source("docs/record.md");
    for (const std::string& reason : words_of(job.type("ExitReason"))) {
        INFO(reason);
        CHECK(text.find("\n| `" + reason + "` | ") != text.npos);
    }
}
