// The job file: anything that a host (or anybody) may have written there, with our members added.
//
// The input is the text of the file; after the first NUL, if there is one, come the values of the
// edit.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/fuzz/fuzz.hpp"

using namespace jobshim;
using namespace jobshim::fuzz;

namespace {

using Json = nlohmann::json;

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

// What nlohmann refuses although JSON.parse accepts it.
bool is_more_than_nlohmann_takes(const std::string& text) {
    if (!is_utf8(text) || text.find("\\ud") != std::string::npos ||
        text.find("\\uD") != std::string::npos)
        return true;
    try {
        return Json::parse(text).is_discarded();
    } catch (const Json::out_of_range& error) {
        return error.id == 406;  // 1e400
    } catch (const Json::parse_error&) {
        return false;
    }
}

// Another parser must read the text the same way.
void compare_with_nlohmann(const JobDocument& document) {
    const std::string& text = document.text();
    // Nothing may come before the brace, not even a byte order mark.
    if (document.is_beyond_bounds() || text.starts_with("\xEF\xBB\xBF")) return;
    const Json json = Json::parse(text, nullptr, false);
    if (json.is_discarded()) {
        demand(document.fault() == JsonFault::malformed || is_more_than_nlohmann_takes(text),
               "what is no JSON text is malformed", text);
        return;
    }
    demand(document.fault() == (json.is_object() ? JsonFault::none : JsonFault::not_object),
           "what nlohmann takes is taken, and known as an object or none", text);
    if (!json.is_object()) return;
    std::set<std::string> keys;
    const JsonScan scan = scan_json_object(text);
    for (const JsonMember& member : scan.members) keys.insert(member.key);
    demand(keys.size() == json.size(), "every member is found", text);
    for (const std::string& key : keys) {
        demand(json.contains(key), "keys are decoded", key);
        demand(Json::parse(*document.value(key), nullptr, false) == json[key],
               "a member's place is its value's", text);
        if (json[key].is_string())
            demand_equal(*document.string(key), json[key].get<std::string>(),
                         "a string is decoded");
    }
}

// A number that does not fit is dropped, not turned into another one.
void demand_numbers(const JobDocument& document) {
    const auto run = document.run();
    if (!run || !run->exit) return;
    const Json json = Json::parse(*document.value("jobshim"), nullptr, false);
    const Json& exit = json["exit"];
    const auto demand_number = [&](const char* key, const auto& got) {
        if (got) demand_equal(exit[key].dump(), std::to_string(*got), key);
    };
    demand_number("code", run->exit->code);
    demand_number("signal", run->exit->signal);
    demand_number("waitStatus", run->exit->wait_status);
    demand_number("durationMs", run->exit->duration_ms);
}

// True if the edit sets the member, wherever in the document it is.
bool sets(const JobEdit& edit, const JobDocument& before, bool worker_reported,
          const std::string& key) {
    if (worker_reported)
        return is_one_of(key, {"pid", "jobshim"}) ||
               (key == "completedAt" && !edit.completed_at.empty() && before.value(key) == "null");
    return is_one_of(key, {"status", "phase", "pid", "updatedAt", "completedAt", "errorMessage",
                           "jobshim"}) ||
           (key == "startedAt" && !edit.started_at.empty());
}

// Of a key that is set, only the last occurrence stays.
std::string without_repeats(const JobDocument& document, const JobEdit& edit,
                            bool worker_reported) {
    const JsonScan scan = scan_json_object(document.text());
    std::string text = document.text();
    std::set<std::string> seen;
    for (std::size_t i = scan.members.size(); i-- > 0;) {
        const JsonMember& member = scan.members[i];
        if (!seen.insert(member.key).second && sets(edit, document, worker_reported, member.key))
            text.erase(member.key_begin, scan.members[i + 1].key_begin - member.key_begin);
    }
    return text;
}

// Every byte of the host's stays where it was. New members come after the last one.
void demand_untouched(const JobDocument& document, const JobEdit& edit, const std::string& after,
                      bool worker_reported) {
    const std::string before = without_repeats(document, edit, worker_reported);
    const JsonScan old = scan_json_object(before);
    const JsonScan now = scan_json_object(after);
    const auto may_set = [&](const JsonMember& member) {
        return sets(edit, document, worker_reported, member.key);
    };
    demand(now.members.size() >= old.members.size(), "no member is lost", after);
    std::size_t at_old = 0;
    std::size_t at_now = 0;
    std::set<std::string> known;
    for (std::size_t i = 0; i < old.members.size(); ++i) {
        const JsonMember& was = old.members[i];
        const JsonMember& is = now.members[i];
        demand_equal(after.substr(at_now, is.value_begin - at_now),
                     before.substr(at_old, was.value_begin - at_old),
                     "keys and the space between members stay");
        if (!may_set(was))
            demand_equal(after.substr(is.value_begin, is.value_end - is.value_begin),
                         before.substr(was.value_begin, was.value_end - was.value_begin),
                         "the host's values stay");
        at_old = was.value_end;
        at_now = is.value_end;
        known.insert(was.key);
    }
    if (old.members.empty()) {
        at_old = old.open + 1;
        demand_equal(after.substr(0, at_old), before.substr(0, at_old), "the opening stays");
    }
    for (std::size_t i = old.members.size(); i < now.members.size(); ++i)
        demand(known.insert(now.members[i].key).second, "only what is absent is added", after);
    if (!now.members.empty()) at_now = now.members.back().value_end;
    demand_equal(after.substr(at_now), before.substr(at_old), "the ending stays");
}

// What a later version put into our member is kept.
void demand_unknown_kept(const JobDocument& before, const JobDocument& after) {
    const Json was = Json::parse(*before.value("jobshim"), nullptr, false);
    const Json is = Json::parse(*after.value("jobshim"), nullptr, false);
    for (const auto& [key, value] : was.items())
        if (!is_one_of(key, {"schema", "version", "shim", "worker", "heartbeat", "onShimDeath",
                             "log", "cancel", "previous", "exit", "command", "raw"}))
            demand(is.contains(key) && is[key] == value, "unknown members of ours are kept", key);
}

void demand_text(const JobDocument& document, const char* key, const std::string& wanted) {
    if (wanted.empty())
        demand_equal(document.value(key).value_or("absent"), "null", key);
    else
        demand_equal(document.string(key).value_or("absent"), wanted, key);
}

void check_edit(const JobDocument& before, const JobEdit& edit, bool worker_reported) {
    const std::string text = edit.applied_to(before, worker_reported);
    const JobDocument after = JobDocument::parse(text);
    demand(after.fault() == JsonFault::none, "what is written can be read", text);
    demand(same_host_members(before, after), "the host's members are the same", text);
    demand_untouched(before, edit, text, worker_reported);
    JobEdit bare = edit;
    bare.run.source.clear();
    demand(text.size() <= before.text().size() + 2 * bare.as_new_file().size() + (256U << 10U),
           "a rewrite is no longer than the document and the edit", text);

    demand_equal(after.value("pid").value_or("absent"),
                 edit.pid ? std::to_string(*edit.pid) : "null", "pid");
    if (worker_reported) {
        demand(after.status() == before.status(), "the worker's word stands", text);
    } else {
        demand(after.status() == edit.status, "the status is as written", text);
        demand_equal(after.string("phase").value_or("absent"), edit.phase, "phase");
        if (!edit.started_at.empty()) demand_text(after, "startedAt", edit.started_at);
        demand_equal(after.string("updatedAt").value_or("absent"), edit.updated_at, "updatedAt");
        demand_text(after, "completedAt", edit.completed_at);
        demand_text(after, "errorMessage", edit.error_message);
        if (!before.value("title") && !edit.title.empty()) demand_text(after, "title", edit.title);
        if (!before.value("command") && !edit.command.empty())
            demand(!after.has_other_command(edit.command), "command", text);
    }
    const auto run = after.run();
    demand(run.has_value(), "our member is there", text);
    demand_equal(text_of(*run), text_of(edit.run), "the run is as written");
    if (!edit.run.source.empty()) demand_unknown_kept(before, after);

    demand_equal(edit.applied_to(after, worker_reported), text,
                 "the same edit changes nothing more");
    JobEdit again = edit;
    again.run = *run;  // as a settler does
    demand_equal(again.applied_to(after, worker_reported), text, "what was read is written back");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input = view(data, size);
    const std::size_t end = std::min(input.find('\0'), input.size());
    Draw draw(input.substr(std::min(end + 1, input.size())));
    const JobDocument document = JobDocument::parse(std::string(input.substr(0, end)));
    compare_with_nlohmann(document);
    if (document.fault() != JsonFault::none) {
        demand(document.fault_at() <= document.text().size(), "a fault is within the text");
        return 0;
    }
    for (const char* key : {"id", "title", "logFile", "status"})
        demand(is_utf8(document.string(key).value_or("")), "strings are UTF-8");
    demand(is_utf8(document.command_line()), "the command line is UTF-8");
    demand(is_utf8(document.end_sentence()) && !document.end_sentence().empty(),
           "the end has a sentence");
    demand(same_host_members(document, document), "a document is the same as itself");
    const std::string shown = printable_json(to_utf8(document.text()));
    std::string on_one_line = shown;
    std::erase(on_one_line, '\r');
    demand(!could_deceive(on_one_line, true), "a record is shown harmlessly", shown);
    demand(same_host_members(JobDocument::parse(printable_json(shown)), JobDocument::parse(shown)),
           "and only once", shown);
    demand(JobDocument::parse(shown).status() == document.status(), "and means the same", shown);
    demand_numbers(document);
    demand_possible(document.run());

    const bool settling = draw.flag() && document.run();
    JobEdit edit;
    edit.run = settling ? *document.run() : draw_run(draw);
    if (!settling) edit.run.previous = document.exit_text();
    edit.title = draw.text();
    edit.command = draw.texts();
    if (draw.flag()) {
        edit.set_end(draw_conclusion(draw), "now");
    } else {
        edit.status = Status::running;
        edit.phase = "running";
        edit.pid = draw.maybe([&] { return draw_pid(draw); });
        edit.started_at = draw.text();
        edit.updated_at = draw.text();
        edit.run.worker = draw.maybe([&] { return draw_worker(draw); });
    }
    for (const bool worker_reported : {false, true}) check_edit(document, edit, worker_reported);
    return 0;
}
