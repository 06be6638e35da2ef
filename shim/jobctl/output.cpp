#include "shim/jobctl/output.hpp"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "common/file_contents.hpp"
#include "common/json_text.hpp"
#include "common/say.hpp"
#include "common/units.hpp"

namespace jobshim {

namespace {

// The status as it stands in the record, including words that only the host knows; null if there is
// none.
std::string status_json(const std::optional<JobDocument>& job) {
    const auto status = job ? job->string("status") : std::nullopt;
    return status ? json_string(*status) : "null";
}

std::string verdict_json(const JobReport& report) {
    std::string json = R"({"state": )" + json_string(word(report.verdict.state)) +
                       R"(, "because": )" + json_string(report.verdict.because) +
                       R"(, "lastBeatAgeMs": )";
    json += report.last_beat_age ? std::to_string(report.last_beat_age->count()) : "null";
    if (!report.not_recorded.empty())
        json += R"(, "notRecorded": )" + json_string(report.not_recorded);
    return json + "}";
}

std::string record_json(const std::optional<JobDocument>& job) {
    if (!job || job->is_for_some_parsers()) return "null";
    std::string text = to_utf8(without_byte_order_mark(job->text()));
    if (job->has_lone_surrogate()) text = without_lone_surrogates(std::move(text));
    text.resize(text.find_last_of('}') + 1);  // without trailing white space
    return text;
}

// The length of the colour sequence at text[i], as far as it is there; 0 if there is none.
struct Colour {
    std::size_t length = 0;
    bool is_whole = false;
};
Colour colour_at(std::string_view text, std::size_t i) {
    if (text[i] != '\x1B') return {};
    if (i + 1 == text.size()) return {1, false};
    if (text[i + 1] != '[') return {};
    const std::size_t end = std::min(text.find_first_not_of("0123456789;:", i + 2), text.size());
    if (end == text.size()) return {end - i, false};
    return text[end] == 'm' ? Colour{end + 1 - i, true} : Colour{};
}

// How many bytes at the end may be part of an incomplete character.
std::size_t half_a_character(std::string_view text) {
    for (std::size_t k = 1; k <= std::min<std::size_t>(3, text.size()); ++k) {
        const auto byte = static_cast<unsigned char>(text[text.size() - k]);
        if ((byte & 0xC0U) == 0x80) continue;
        const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
        return k < length ? k : 0;
    }
    return 0;
}

// Weight, slant, underlining, inversion, and six colours that can be read on any background.
// Whatever else there is could hide text: concealment, blinking, backgrounds, black, white, greys.
bool is_readable(std::string_view code) {
    static constexpr std::string_view readable[] = {"0",  "1",  "3",  "4",  "7",  "22", "23", "24",
                                                    "27", "31", "32", "33", "34", "35", "36", "39",
                                                    "91", "92", "93", "94", "95", "96"};
    return std::find(std::begin(readable), std::end(readable), code) != std::end(readable);
}

// "01;31" is taken apart; without leading zeros, and "" is "0".
std::vector<std::string_view> codes_of(std::string_view sequence) {
    std::vector<std::string_view> codes;
    for (std::size_t at = 0; at <= sequence.size();) {
        const std::size_t end = std::min(sequence.find(';', at), sequence.size());
        std::string_view code = sequence.substr(at, end - at);
        code.remove_prefix(std::min(code.find_first_not_of('0'), code.size()));
        codes.push_back(code.empty() ? "0" : code);
        at = end + 1;
    }
    return codes;
}

// What may be shown of a colour sequence; "" if nothing may.
std::string readable_part(std::string_view sequence) {
    const std::vector<std::string_view> codes = codes_of(sequence);
    std::string kept;
    for (std::size_t i = 0; i < codes.size(); ++i) {
        if (codes[i] == "38" || codes[i] == "48" || codes[i] == "58") {
            // A colour of a palette (38;5;N) or of three parts (38;2;R;G;B).
            const std::string_view kind = i + 1 < codes.size() ? codes[i + 1] : "";
            i += kind == "5" ? 2 : kind == "2" ? 4 : 0;
        } else if (is_readable(codes[i])) {
            kept += (kept.empty() ? "" : ";") + std::string(codes[i]);
        }
    }
    return kept;
}

}  // namespace

std::string TerminalFilter::pass(std::string_view block) {
    std::string text = std::exchange(held_, {});
    text += block;
    constexpr std::size_t longest = 64;  // no colour sequence is that long
    const std::size_t escape = text.rfind('\x1B');
    std::size_t half = half_a_character(text);
    if (escape != std::string::npos && text.size() - escape < longest)
        if (const Colour colour = colour_at(text, escape); colour.length != 0 && !colour.is_whole)
            half = text.size() - escape;
    if (text.ends_with('\r')) {
        text.erase(text.find_last_not_of('\r') + 1);  // npos + 1 is 0
        text += '\r';
        half = 1;
    }
    held_ = text.substr(text.size() - half);
    text.resize(text.size() - half);
    return fit(text);
}

std::string TerminalFilter::rest() {
    std::string text = fit(std::exchange(held_, {}));
    if (std::exchange(is_coloured_, false)) text += "\x1B[0m";
    return text;
}

std::string TerminalFilter::fit(std::string_view text) {
    std::string fit;
    for (std::size_t i = 0; i < text.size();) {
        if (const Colour colour = colour_at(text, i); colour.is_whole) {
            const std::string codes = readable_part(text.substr(i + 2, colour.length - 3));
            if (!codes.empty()) {
                fit += "\x1B[" + codes + "m";
                is_coloured_ = codes != "0" && !codes.ends_with(";0");
            }
            i += colour.length;
        } else if (text[i] == '\r') {
            // What comes after a carriage return would be written over what came before it.
            i = std::min(text.find_first_not_of('\r', i), text.size());
            const bool ends_line = i < text.size() && text[i] == '\n';
            fit += ends_line ? "\r\n" : "\n";
            if (ends_line) ++i;
        } else {
            const std::size_t end = std::min(text.find_first_of("\x1b\r", i + 1), text.size());
            fit += printable(text.substr(i, end - i), true);
            i = end;
        }
    }
    return fit;
}

JobReport report_of(const JobFiles& files, const Settled& settled) {
    const Observation& seen = settled.now;
    return {.id = id_of(seen.document, files.name),
            .file = files.path,
            .job = seen.document,
            .verdict = seen.verdict,
            .last_beat_age = seen.sighting.beat_age,
            .modified_ms = seen.modified_ns / 1'000'000,
            .not_recorded = settled.unwritable};
}

std::string status_line(const JobReport& report) {
    return printable_word(report.id) + "  " + std::string(word(report.verdict.state)) + "  " +
           single_spaced(printable(report.verdict.because)) + "\n";
}

std::string json_of(const JobReport& report) {
    return printable_json(R"({"id": )" + json_string(report.id) + R"(, "file": )" +
                          json_string(report.file) + R"(, "status": )" + status_json(report.job) +
                          R"(, "verdict": )" + verdict_json(report) + R"(, "job": )" +
                          record_json(report.job) + "}");
}

std::string single_spaced(std::string text) {
    text.erase(
        std::unique(text.begin(), text.end(), [](char a, char b) { return a == ' ' && b == ' '; }),
        text.end());
    return text;
}

std::string json_array_of(const std::vector<JobReport>& reports) {
    std::string json = "[";
    for (const JobReport& report : reports)
        json += (json.size() > 1 ? ",\n" : "") + json_of(report);
    return json + "]\n";
}

void JsonArrayPrinter::add(std::string_view object) {
    constexpr std::size_t enough = std::size_t{64} << 10U;
    if (!std::exchange(is_first_, false)) held_ += ",\n";
    held_ += object;
    if (held_.size() >= enough) print(std::exchange(held_, {}));
}

void JsonArrayPrinter::finish() { print(std::exchange(held_, {}) + "]\n"); }

void print(std::string_view text) { write_all(STDOUT_FILENO, text, "standard output"); }

void complain(std::string_view message) { say("jobctl", message); }

void complain_of_no_such_job(const std::string& job) {
    const bool is_path = job.find('/') != std::string::npos || job.ends_with(".json");
    complain(job + ": no such job" +
             (is_path ? "" : " (for a job file, give its path, with a slash in it)"));
}

}  // namespace jobshim
