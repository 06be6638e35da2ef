// Durations, signals, times, ids and texts: whatever a user types, and whatever is shown.
#include <csignal>

#include <algorithm>
#include <cmath>

#include "common/job_files.hpp"
#include "common/json_text.hpp"
#include "common/standing.hpp"
#include "tests/fuzz/fuzz.hpp"

using namespace jobshim;
using namespace jobshim::fuzz;
using std::chrono::milliseconds;

namespace {

constexpr std::int64_t century_ms = std::int64_t{100} * 365 * 86'400'000;

void check_duration(std::string_view text, std::int64_t number) {
    if (const auto duration = parse_duration(text)) {
        demand(duration->count() >= 0 && duration->count() <= century_ms,
               "a duration is between nothing and a century", text);
        // 0 means never: no other number may become 0.
        demand(duration->count() > 0 || text.find_first_of("123456789") == std::string_view::npos,
               "a short time is not never", text);
        demand(parse_duration(std::string(text) + "x") == std::nullopt, "no unit but ours", text);
    }
    demand(!could_deceive(describe_duration(milliseconds(number))), "a duration in words");
    if (number < 0) return;
    const std::int64_t ms = number % (century_ms + 1);
    demand(parse_duration(std::to_string(ms) + "ms") == milliseconds(ms), "milliseconds are exact",
           std::to_string(ms));
    const std::int64_t s = ms / 1000;
    demand(parse_duration(std::to_string(s)) == milliseconds(1000 * s), "seconds are the default",
           std::to_string(s));
}

void check_signal(std::string_view text, std::int64_t number) {
    const int any = static_cast<int>(number);
    demand(!signal_name(any).empty() && !could_deceive(signal_name(any)), "a signal has a name");
    const auto signal = parse_signal(text);
    if (!signal) return;
    // 0 is "no signal", as with kill(1).
    demand(*signal >= 0 && *signal <= SIGRTMAX, "a signal is one of this system", text);
    demand(parse_signal(std::to_string(*signal)) == signal, "a signal's number is it", text);
    const std::string name = signal_name(*signal);
    demand(*signal == 0 || name.starts_with("signal ") || parse_signal(name) == signal,
           "a name is read back", name);
}

void check_time(std::string_view text, std::int64_t number) {
    demand(!iso_time(number / 1'000'000).empty(), "any file's time can be written");
    if (const auto time = parse_iso_time(text))
        demand(parse_iso_time(iso_time(*time)) == time, "a time that was read is written", text);
    // Years 0 to 9999.
    const std::int64_t first = -62'167'219'200'000;
    const std::int64_t last = 253'402'300'799'999;
    if (number >= first && number <= last) {
        demand(iso_time(number).size() == 24, "a time has 24 characters", iso_time(number));
        demand(parse_iso_time(iso_time(number)) == number, "a time that was written is read",
               iso_time(number));
    }
}

void check_text(std::string_view text) {
    const std::string utf8 = to_utf8(text);
    demand(is_utf8(utf8), "to_utf8 makes UTF-8", text);
    demand((utf8 == text) == is_utf8(text), "UTF-8 stays as it is", text);
    for (const bool keep_lines : {false, true}) {
        const std::string shown = printable(text, keep_lines);
        demand(is_utf8(shown), "what is shown is UTF-8", text);
        demand_equal(printable(shown, keep_lines), shown, "what is printable stays as it is");
        demand(!could_deceive(shown, keep_lines), "no control character is shown", shown);
        demand(could_deceive(utf8, keep_lines) || shown == utf8, "all else is shown", utf8);
    }
    const std::string literal = json_string(utf8);
    const std::string shown = printable_json(literal);
    demand(!could_deceive(shown), "JSON on one line, and harmless", shown);
    demand_equal(decode_json_string(shown), utf8, "harmless JSON means the same");
    demand_equal(decode_json_string(literal), utf8, "a JSON string is read back");
    demand(scan_json_object("{" + literal + ":" + json_string(text) + "}").fault == JsonFault::none,
           "a JSON string is well-formed", literal);
    demand(is_job_id(job_id_from_name(text)), "any name gives an id", job_id_from_name(text));
    if (is_job_id(text))
        demand(text.ends_with(".json") || job_id_from_name(text) == text, "an id stays one", text);
}

void check_base64(std::string_view bytes) {
    const std::string text = base64(bytes);
    demand(text.size() == (bytes.size() + 2) / 3 * 4, "base64 has its length");
    std::string back;
    std::uint32_t bits = 0;
    int count = 0;
    for (const char c : text) {
        static constexpr std::string_view letters =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const std::size_t value = letters.find(c);
        if (value == std::string_view::npos) break;
        bits = (bits << 6U) | static_cast<std::uint32_t>(value);
        count += 6;
        if (count < 8) continue;
        count -= 8;
        back += static_cast<char>((bits >> static_cast<unsigned>(count)) & 0xFFU);
    }
    demand_equal(back, bytes, "base64 is read back");
}

// Few users and many modes, so that they meet.
void check_standing(Draw draw) {
    const auto user = [&] { return static_cast<std::uint32_t>(draw.choice(4)); };
    Parties parties;
    parties.actor = user();
    parties.owner = user();
    parties.directory_owner = user();
    parties.directory_mode = static_cast<std::uint32_t>(draw.byte() | draw.byte() << 8U);
    const Standing standing = standing_of(parties);
    const std::uint32_t mode = parties.directory_mode;
    demand((standing == Standing::owner) == (parties.actor == parties.owner),
           "a job is its owner's to act on");
    if (standing == Standing::root_as_owner) {
        demand(parties.actor == 0, "only root acts for others");
        demand(parties.directory_owner == parties.owner || parties.directory_owner == 0,
               "not in a third user's directory");
        demand((mode & 0022U) == 0 || (mode & 01000U) != 0, "not where everybody may rename");
    }
    demand((standing == Standing::onlooker) == !why_only_looking(parties).empty(),
           "an onlooker is told why, and nobody else");
    // Less can never allow more.
    Parties shared = parties;
    shared.directory_mode = (mode | 0002U) & ~01000U;
    demand(standing_of(shared) == standing || standing_of(shared) == Standing::onlooker,
           "a directory that everybody may write to allows no more");
    demand(counts_for(parties.owner, parties.actor) ==
               (parties.actor == parties.owner || parties.actor == 0),
           "only the owner's files count, and root's");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = view(data, size);
    const auto number = Draw(text).number<std::int64_t>();
    check_duration(text, number);
    check_signal(text, number);
    check_time(text, number);
    check_text(text);
    check_base64(text);
    check_standing(Draw(text));
    return 0;
}
