#include "common/job_document.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "common/job_names.hpp"
#include "common/record_json.hpp"

namespace jobshim {

namespace {

// A value that would take this much more than its bare JSON text is written on one line. Otherwise
// a forged layout, or a value nested deeply, would turn 4 MiB into gigabytes of white space.
constexpr std::size_t most_white_space = std::size_t{64} << 10U;
// No program indents its members deeper; it would be repeated for each of ours.
constexpr std::size_t deepest_indent = 64;

// How a document lays out its members, so that ours look like the host's.
struct Layout {
    std::string line_feed;  // "" for a document on one line
    std::string indent;     // before each member
    std::string separator;  // between the colon and the value

    // `json` is well-formed, and has no white space outside strings.
    std::string render(const std::string& json) const {
        const auto opens = [](char c) { return c == '{' || c == '['; };
        const auto closes = [](char c) { return c == '}' || c == ']'; };
        if (line_feed.empty() || !opens(json[0])) return json;
        const bool tabs = !indent.empty() && indent[0] == '\t';
        const std::string step(indent.empty() ? 2 : indent.size(), tabs ? '\t' : ' ');
        std::string begin_of_line = line_feed + indent;
        std::string result;
        bool in_string = false;
        for (std::size_t at = 0; at < json.size(); ++at) {
            if (result.size() > json.size() + most_white_space) return json;
            const char c = json[at];
            if (closes(c) && !in_string && !opens(json[at - 1])) {
                begin_of_line.resize(begin_of_line.size() - step.size());
                result += begin_of_line;
            }
            result += c;
            if (c == '"') in_string = !in_string;
            if (in_string) {
                if (c == '\\') result += json[++at];
            } else if (opens(c) && !closes(json[at + 1])) {
                begin_of_line += step;
                result += begin_of_line;
            } else if (c == ',') {
                result += begin_of_line;
            } else if (c == ':') {
                result += ' ';
            }
        }
        return result;
    }
};

Layout layout_of(const std::string& text, const JsonScan& scan) {
    const std::size_t first = scan.members.empty() ? scan.close : scan.members.front().key_begin;
    const std::string gap = text.substr(scan.open + 1, first - scan.open - 1);
    Layout layout;
    const std::size_t feed = gap.rfind('\n');
    if (feed != std::string::npos && gap.size() - feed <= deepest_indent + 1) {
        layout.line_feed = feed > 0 && gap[feed - 1] == '\r' ? "\r\n" : "\n";
        layout.indent = gap.substr(feed + 1);
        layout.separator = " ";
        if (scan.members.empty()) layout.indent = "  ";
    }
    return layout;
}

bool is_empty_value(const Json& value) {
    return value.is_null() || ((value.is_array() || value.is_string()) && value.empty()) ||
           (value.is_string() && value.get_ref<const std::string&>().empty());
}

struct Assignment {
    enum class When { always, absent, absent_or_null };

    Assignment(const char* its_key, const Json& value, When condition = When::always)
        : key(its_key), json(dump(value)), is_empty(is_empty_value(value)), when(condition) {}
    // JSON text that nlohmann does not take, such as a lone surrogate, stays as it is.
    Assignment(const JobDocument::Member& member) : key(member.key), json(member.json) {
        if (const Json value = parse_leniently(json); !value.is_discarded()) json = dump(value);
    }

    const char* key;
    std::string json;
    bool is_empty = false;
    When when = When::always;
};

// Splices the assignments into the text. Every other byte is kept as it is, except for the earlier
// occurrences of a key that is set.
std::string assign(const std::string& text, const JsonScan& scan,
                   const std::vector<Assignment>& assignments) {
    using When = Assignment::When;
    const Layout layout = layout_of(text, scan);
    struct Splice {
        std::size_t begin;
        std::size_t end;
        std::string replacement;
    };
    std::vector<Splice> splices;
    std::string added;
    for (const Assignment& assignment : assignments) {
        const auto is_it = [&](const JsonMember& member) { return member.key == assignment.key; };
        const auto last = std::find_if(scan.members.rbegin(), scan.members.rend(), is_it);
        if (last == scan.members.rend()) {
            if (assignment.when == When::absent && assignment.is_empty) continue;
            added += added.empty() && scan.members.empty() ? "" : ",";
            added += layout.line_feed + layout.indent + dump(Json(assignment.key)) + ":" +
                     layout.separator + layout.render(assignment.json);
            continue;
        }
        const bool null =
            text.compare(last->value_begin, last->value_end - last->value_begin, "null") == 0;
        if (assignment.when == When::absent || (assignment.when == When::absent_or_null && !null))
            continue;
        for (const JsonMember* member = scan.members.data(); member != &*last; ++member)
            if (is_it(*member)) splices.push_back({member->key_begin, member[1].key_begin, ""});
        splices.push_back({last->value_begin, last->value_end, layout.render(assignment.json)});
    }
    if (!added.empty()) {
        const std::size_t at = scan.members.empty() ? scan.open + 1 : scan.members.back().value_end;
        splices.push_back({at, at, added});
    }
    std::sort(splices.begin(), splices.end(),
              [](const Splice& a, const Splice& b) { return a.begin < b.begin; });
    std::string result;
    std::size_t at = 0;
    for (const Splice& splice : splices) {
        result.append(text, at, splice.begin - at);
        result += splice.replacement;
        at = splice.end;
    }
    result.append(text, at);
    return result;
}

}  // namespace

std::string final_phase(Status status) {
    switch (status) {
        case Status::completed:
            return "done";
        case Status::cancelled:
            return "cancelled";
        case Status::failed:
        case Status::queued:
        case Status::running:
        case Status::none:
        case Status::other:
            return "failed";
    }
    return "failed";
}

JobDocument JobDocument::parse(std::string text) {
    JobDocument document;
    document.text_ = std::move(text);
    document.scan_ = scan_json_object(document.text_);
    return document;
}

std::optional<std::string_view> JobDocument::value(std::string_view key) const {
    for (auto member = scan_.members.rbegin(); member != scan_.members.rend(); ++member)
        if (member->key == key)
            return std::string_view(text_).substr(member->value_begin,
                                                  member->value_end - member->value_begin);
    return std::nullopt;
}

std::optional<std::string> JobDocument::string(std::string_view key) const {
    const auto raw = value(key);
    if (!raw || raw->front() != '"') return std::nullopt;
    return decode_json_string(*raw);
}

Status JobDocument::status() const {
    if (!value("status")) return Status::none;
    return status_from(string("status").value_or(""));
}

const std::optional<RunRecord>& JobDocument::run() const {
    if (!run_) {
        const auto raw = value("jobshim");
        run_ = std::make_shared<const std::optional<RunRecord>>(
            raw ? run_from(parse_leniently(*raw), *raw) : std::nullopt);
    }
    return *run_;
}

std::string JobDocument::exit_text() const {
    const auto raw = value("jobshim");
    if (!raw) return "";
    const Json exit = object_in(parse_leniently(*raw), "exit");
    return exit.is_object() ? dump(exit) : "";
}

std::string JobDocument::end_sentence() const {
    if (auto message = string("errorMessage"); message && !message->empty()) return *message;
    return status() == Status::completed ? "Completed." : "The record gives no reason.";
}

bool JobDocument::has_other_command(const std::vector<std::string>& command) const {
    const auto raw = value("command");
    if (!raw) return false;
    const Json theirs = parse_leniently(*raw);
    return theirs.is_discarded() || theirs != Json(command);
}

std::string JobDocument::command_line() const {
    const auto raw = value("command");
    if (!raw) return "";
    if (raw->front() == '"') return decode_json_string(*raw);
    std::string line;
    if (const Json words = parse_leniently(*raw); words.is_array())
        for (const Json& argument : words)
            if (argument.is_string())
                line += (line.empty() ? "" : " ") + argument.get<std::string>();
    return line;
}

std::string JobDocument::with(const std::vector<Member>& members) const {
    return assign(text_, scan_, {members.begin(), members.end()});
}

std::string JobDocument::without(const std::vector<std::string_view>& keys) const {
    std::string result = text_.substr(0, scan_.open + 1);
    std::size_t at = scan_.open + 1;  // the end of the previous member, before its comma
    bool is_first = true;
    for (const JsonMember& member : scan_.members) {
        if (std::find(keys.begin(), keys.end(), member.key) == keys.end()) {
            const std::size_t comma = text_.find(',', at);
            const std::size_t begin = is_first && comma < member.key_begin ? comma + 1 : at;
            result.append(text_, begin, member.value_end - begin);
            is_first = false;
        }
        at = member.value_end;
    }
    return result.append(text_, at);
}

bool same_host_members(const JobDocument& a, const JobDocument& b) {
    static constexpr std::string_view ours[] = {
        "status", "phase", "pid",     "startedAt", "updatedAt", "completedAt", "errorMessage",
        "id",     "title", "command", "cwd",       "logFile",   "createdAt",   "jobshim"};
    // Each key once, with its last value.
    const auto theirs = [](const JobDocument& document) {
        std::vector<std::pair<std::string_view, std::string_view>> members;
        std::unordered_map<std::string_view, std::size_t> places;
        for (const JsonMember& member : document.scan_.members) {
            if (std::find(std::begin(ours), std::end(ours), member.key) != std::end(ours)) continue;
            const auto [place, is_new] = places.try_emplace(member.key, members.size());
            if (is_new) members.emplace_back(member.key, "");
            members[place->second].second =
                std::string_view(document.text_)
                    .substr(member.value_begin, member.value_end - member.value_begin);
        }
        return members;
    };
    return theirs(a) == theirs(b);
}

void JobEdit::set_end(const Conclusion& last, const std::string& now) {
    status = last.status;
    phase = final_phase(last.status);
    pid.reset();
    updated_at = now;
    completed_at = last.exit.ended_at.empty() ? now : last.exit.ended_at;
    error_message = last.sentence;
    run.exit = last.exit;
}

std::string JobEdit::applied_to(const JobDocument& document, bool worker_reported) const {
    using When = Assignment::When;
    std::vector<Assignment> ours;
    if (worker_reported) {
        ours = {{"pid", or_null(pid)}};
        if (!completed_at.empty())
            ours.push_back({"completedAt", completed_at, When::absent_or_null});
    } else {
        ours = {{"id", id, When::absent},
                {"title", title, When::absent},
                {"status", word(status)},
                {"phase", phase},
                {"pid", or_null(pid)},
                {"command", command, When::absent},
                {"cwd", cwd, When::absent},
                {"logFile", log_file, When::absent},
                {"createdAt", created_at, When::absent}};
        if (!started_at.empty()) ours.push_back({"startedAt", started_at});
        ours.push_back({"updatedAt", updated_at});
        ours.push_back({"completedAt", or_null(completed_at)});
        ours.push_back({"errorMessage", or_null(error_message)});
    }
    ours.push_back({"jobshim", to_json(run)});
    return assign(document.text_, document.scan_, ours);
}

std::string JobEdit::as_new_file() const { return applied_to(JobDocument::parse("{\n}\n"), false); }

std::string run_text(const RunRecord& run) { return dump(to_json(run)); }

std::string id_of(const std::optional<JobDocument>& job, std::string_view file_name) {
    const auto id = job ? job->string("id") : std::nullopt;
    return id && !id->empty() ? *id : job_id_from_name(file_name);
}

std::string json_string(std::string_view text) { return dump(Json(text)); }

}  // namespace jobshim
