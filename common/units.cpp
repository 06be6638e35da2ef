#include "common/units.hpp"

#include <csignal>

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "common/system_names.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

constexpr auto signal_names = std::to_array<NamedNumber>({
    {SIGHUP, "HUP"},       {SIGINT, "INT"},   {SIGQUIT, "QUIT"},   {SIGILL, "ILL"},
    {SIGTRAP, "TRAP"},     {SIGABRT, "ABRT"}, {SIGBUS, "BUS"},     {SIGFPE, "FPE"},
    {SIGKILL, "KILL"},     {SIGUSR1, "USR1"}, {SIGSEGV, "SEGV"},   {SIGUSR2, "USR2"},
    {SIGPIPE, "PIPE"},     {SIGALRM, "ALRM"}, {SIGTERM, "TERM"},   {SIGCHLD, "CHLD"},
    {SIGCONT, "CONT"},     {SIGSTOP, "STOP"}, {SIGTSTP, "TSTP"},   {SIGTTIN, "TTIN"},
    {SIGTTOU, "TTOU"},     {SIGURG, "URG"},   {SIGXCPU, "XCPU"},   {SIGXFSZ, "XFSZ"},
    {SIGVTALRM, "VTALRM"}, {SIGPROF, "PROF"}, {SIGWINCH, "WINCH"}, {SIGIO, "IO"},
    {SIGSYS, "SYS"},
});

// The real-time signals as glibc numbers them: it keeps 32 and 33 for its threads. Not SIGRTMIN,
// which is 35 in musl: a name must mean the same to a shim linked with musl as to jobctl, the
// worker and the sender, which use glibc nearly everywhere.
constexpr int first_real_time = 34;
constexpr int last_real_time = 64;

// The length of the UTF-8 sequence that starts at text[i], 0 if there is none.
std::size_t utf8_length(std::string_view text, std::size_t i) {
    const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
    const unsigned char lead = byte(i);
    if (lead < 0x80) return 1;
    std::size_t length = 0;
    std::uint32_t smallest = 0;
    std::uint32_t value = 0;
    if ((lead & 0xE0U) == 0xC0) {
        length = 2, smallest = 0x80, value = lead & 0x1FU;
    } else if ((lead & 0xF0U) == 0xE0) {
        length = 3, smallest = 0x800, value = lead & 0x0FU;
    } else if ((lead & 0xF8U) == 0xF0) {
        length = 4, smallest = 0x10000, value = lead & 0x07U;
    } else {
        return 0;
    }
    if (i + length > text.size()) return 0;
    for (std::size_t k = i + 1; k < i + length; ++k) {
        if ((byte(k) & 0xC0U) != 0x80) return 0;
        value = (value << 6U) | (byte(k) & 0x3FU);
    }
    const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
    return value < smallest || value > 0x10FFFF || surrogate ? 0 : length;
}

constexpr std::string_view replacement_character = "\xEF\xBF\xBD";

// `replace(sequence, instead)` sets what stands for a character and returns true; or false, to keep
// the character.
template <class Replace>
std::string clean(std::string_view text, Replace replace) {
    std::string result;
    std::string instead;
    std::size_t wanted_from = 0;
    const auto take_wanted = [&](std::size_t end) {
        result.append(text.data() + wanted_from, end - wanted_from);
        wanted_from = end;
    };
    for (std::size_t i = 0; i < text.size();) {
        const bool is_ascii = static_cast<unsigned char>(text[i]) < 0x80;
        const std::size_t length = is_ascii ? 1 : utf8_length(text, i);
        if (length == 0) {
            take_wanted(i);
            result += replacement_character;
            wanted_from = ++i;
            continue;
        }
        if (replace(std::string_view(text.data() + i, length), instead)) {
            take_wanted(i);
            result += instead;
            instead.clear();
            wanted_from = i + length;
        }
        i += length;
    }
    take_wanted(text.size());
    return result;
}

// Of a valid UTF-8 sequence; 0 for one of four bytes, of which none interests us.
std::uint32_t code_point_of(std::string_view sequence) {
    const auto bits = [&](std::size_t k) {
        return static_cast<unsigned char>(sequence[k]) & 0x3FU;
    };
    switch (sequence.size()) {
        case 1:
            return static_cast<unsigned char>(sequence[0]);
        case 2:
            return ((bits(0) & 0x1FU) << 6U) | bits(1);
        case 3:
            return ((bits(0) & 0x0FU) << 12U) | (bits(1) << 6U) | bits(2);
        default:
            return 0;
    }
}

// DEL, and the C1 controls, which some terminals obey.
constexpr bool is_late_control(std::uint32_t code) { return code >= 0x7F && code < 0xA0; }

// Both ends belong to it.
constexpr bool is_in(std::uint32_t code, std::uint32_t first, std::uint32_t last) {
    return first <= code && code <= last;
}

// The marks, embeddings, overrides and isolates of the Unicode Bidirectional Algorithm.
constexpr bool is_bidirectional_control(std::uint32_t code) {
    return code == 0x061C || code == 0x200E || code == 0x200F || is_in(code, 0x202A, 0x202E) ||
           is_in(code, 0x2066, 0x2069);
}

std::string four_digits(const char* format, std::uint32_t code) {
    std::array<char, 16> text{};
    std::snprintf(text.data(), text.size(), format, code);
    return text.data();
}

}  // namespace

std::optional<milliseconds> parse_duration(std::string_view text) {
    // from_chars would accept "inf", "nan" and "-0".
    if (text.empty() || (!std::isdigit(static_cast<unsigned char>(text[0])) && text[0] != '.'))
        return std::nullopt;
    double number = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (error != std::errc{}) return std::nullopt;
    const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
    double scale = 0;
    if (unit == "ms")
        scale = 1;
    else if (unit.empty() || unit == "s")
        scale = 1000;
    else if (unit == "m")
        scale = 60'000;
    else if (unit == "h")
        scale = 3'600'000;
    else if (unit == "d")
        scale = 86'400'000;
    else
        return std::nullopt;
    const double century = 100.0 * 365 * 86'400'000;
    // Rounded up, so that 0.0001s is a short time and not "never".
    return milliseconds(static_cast<std::int64_t>(std::ceil(std::fmin(number * scale, century))));
}

std::optional<std::uint64_t> parse_count(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional(number)
                                                                    : std::nullopt;
}

std::string describe_duration(milliseconds duration) {
    const std::int64_t ms = duration.count();
    const auto two = [](std::int64_t big, const char* big_unit, std::int64_t small,
                        const char* small_unit) {
        std::string words = std::to_string(big) + big_unit;
        if (small != 0) words += " " + std::to_string(small) + small_unit;
        return words;
    };
    if (ms < 0) {
        // The smallest number has no positive counterpart.
        const auto positive = -(ms + 1);
        return "-" + describe_duration(milliseconds(positive) + milliseconds(positive < INT64_MAX));
    }
    if (ms < 1000) return std::to_string(ms) + " ms";
    const std::int64_t s = ms / 1000;
    if (s < 10 && ms % 1000 >= 100)
        return std::to_string(s) + "." + std::to_string(ms % 1000 / 100) + " s";
    if (s < 60) return std::to_string(s) + " s";
    if (s < 3600) return two(s / 60, " min", s % 60, " s");
    if (s < 86'400) return two(s / 3600, " h", s % 3600 / 60, " min");
    return two(s / 86'400, " d", s % 86'400 / 3600, " h");
}

std::optional<int> parse_signal(std::string_view text) {
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc{} && end == text.data() + text.size())
        return number >= 0 && number <= last_real_time ? std::optional(number) : std::nullopt;
    std::string name;
    for (const char c : text)
        name += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    if (name.starts_with("SIG")) name.erase(0, 3);
    for (const NamedNumber& entry : signal_names)
        if (name == entry.name) return entry.number;
    for (const NamedNumber& entry : signals_of_this_system())
        if (name == entry.name) return entry.number;
    if (name == "EXIT") return 0;
    if (name == "POLL") return SIGIO;
    const bool up = name.starts_with("RTMIN");
    if (!up && !name.starts_with("RTMAX")) return std::nullopt;
    const std::string offset = name.substr(5);
    if (offset.empty()) return up ? first_real_time : last_real_time;
    if (offset.size() < 2 || offset.size() > 3 || offset[0] != (up ? '+' : '-'))
        return std::nullopt;
    const auto [stop, bad] =
        std::from_chars(offset.data() + 1, offset.data() + offset.size(), number);
    if (bad != std::errc{} || stop != offset.data() + offset.size()) return std::nullopt;
    const int signal = up ? first_real_time + number : last_real_time - number;
    return signal >= first_real_time && signal <= last_real_time ? std::optional(signal)
                                                                 : std::nullopt;
}

std::string signal_name(int signal) {
    if (signal == 0) return "no signal";
    for (const NamedNumber& entry : signal_names)
        if (signal == entry.number) return std::string("SIG") + entry.name;
    for (const NamedNumber& entry : signals_of_this_system())
        if (signal == entry.number) return std::string("SIG") + entry.name;
    if (signal == first_real_time) return "SIGRTMIN";
    if (signal > first_real_time && signal <= last_real_time)
        return "SIGRTMIN+" + std::to_string(signal - first_real_time);
    return "signal " + std::to_string(signal);
}

std::string iso_time(std::int64_t ms_since_epoch) {
    // Not gmtime_r: it reads the time zone file, which would cost every job.
    using namespace std::chrono;
    const sys_time<milliseconds> time{milliseconds(ms_since_epoch)};
    const auto midnight = floor<days>(time);
    const year_month_day date{midnight};
    const hh_mm_ss clock{time - midnight};
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ",
                  static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                  static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
                  static_cast<int>(clock.minutes().count()),
                  static_cast<int>(clock.seconds().count()),
                  static_cast<int>(clock.subseconds().count()));
    return text.data();
}

std::optional<std::int64_t> parse_iso_time(std::string_view text) {
    const std::string_view shape = "dddd-dd-ddTdd:dd:dd";
    if (text.size() < shape.size() + 1 || text.back() != 'Z') return std::nullopt;
    for (std::size_t i = 0; i < shape.size(); ++i)
        if (shape[i] == 'd' ? !std::isdigit(static_cast<unsigned char>(text[i]))
                            : text[i] != shape[i])
            return std::nullopt;
    const auto field = [&](std::size_t begin, std::size_t length) {
        int value = 0;
        std::from_chars(text.data() + begin, text.data() + begin + length, value);
        return value;
    };
    std::int64_t ms = 0;
    std::string_view rest = text.substr(shape.size(), text.size() - shape.size() - 1);
    if (!rest.empty()) {
        if (rest.size() < 2 || rest[0] != '.') return std::nullopt;
        int weight = 100;
        for (const char c : rest.substr(1)) {
            if (!std::isdigit(static_cast<unsigned char>(c))) return std::nullopt;
            ms += weight * (c - '0');
            weight /= 10;
        }
    }
    using namespace std::chrono;
    const year_month_day date{year(field(0, 4)), month(static_cast<unsigned>(field(5, 2))),
                              day(static_cast<unsigned>(field(8, 2)))};
    if (!date.ok() || field(11, 2) > 23 || field(14, 2) > 59 || field(17, 2) > 60)
        return std::nullopt;
    const auto days = sys_days(date).time_since_epoch();
    return duration_cast<milliseconds>(days + hours(field(11, 2)) + minutes(field(14, 2)) +
                                       seconds(field(17, 2)))
               .count() +
           ms;
}

bool is_utf8(std::string_view bytes) {
    for (std::size_t i = 0; i < bytes.size();) {
        const std::size_t length = utf8_length(bytes, i);
        if (length == 0) return false;
        i += length;
    }
    return true;
}

std::string to_utf8(std::string_view bytes) {
    return clean(bytes, [](std::string_view, std::string&) { return false; });
}

std::string printable(std::string_view text, bool keep_lines) {
    return clean(text, [&](std::string_view sequence, std::string& instead) {
        const std::uint32_t code = code_point_of(sequence);
        const bool is_kept = keep_lines && (code == '\n' || code == '\t');
        if ((code < 0x20 && sequence.size() == 1 && !is_kept) || is_late_control(code))
            instead = replacement_character;
        else if (is_bidirectional_control(code))
            instead = four_digits("<U+%04X>", code);
        return !instead.empty();
    });
}

std::string printable_word(std::string_view text) {
    return clean(printable(text), [&](std::string_view sequence, std::string& instead) {
        const std::uint32_t code = code_point_of(sequence);
        if (code == ' ' || code == 0xA0 || code == 0xAD || code == 0x1680 ||
            is_in(code, 0x2000, 0x200F) || is_in(code, 0x2028, 0x202F) ||
            is_in(code, 0x205F, 0x206F) || code == 0x3000 || code == 0xFEFF)
            instead = four_digits("<U+%04X>", code);
        return !instead.empty();
    });
}

std::size_t columns_at(std::string_view utf8, std::size_t at) {
    const std::size_t length = utf8_length(utf8, at);
    if (length == 0) return 0;
    if (length == 4) return 2;  // emoji, rare ideographs
    const std::uint32_t code = code_point_of(utf8.substr(at, length));
    const bool may_be_wide = is_in(code, 0x1100, 0x115F) || is_in(code, 0x2300, 0x23FF) ||
                             is_in(code, 0x2600, 0x27BF) || is_in(code, 0x2B00, 0x2BFF) ||
                             is_in(code, 0x2E80, 0xFFE6);
    return may_be_wide ? 2 : 1;
}

std::string printable_json(std::string_view json) {
    return clean(json, [](std::string_view sequence, std::string& instead) {
        const std::uint32_t code = code_point_of(sequence);
        if (is_late_control(code) || is_bidirectional_control(code))
            instead = four_digits("\\u%04x", code);
        return !instead.empty();
    });
}

std::string shortened(std::string text, std::size_t most) {
    constexpr std::string_view ellipsis = "\u2026";
    if (text.size() <= most) return text;
    std::size_t end = most < ellipsis.size() ? 0 : most - ellipsis.size();
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80) --end;
    text.resize(end);
    return text.append(ellipsis);
}

namespace {

constexpr std::string_view letters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string base64(std::string_view bytes) {
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t group = 0;
        for (std::size_t k = 0; k < 3; ++k)
            group = (group << 8U) |
                    (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
        const std::size_t used = std::min<std::size_t>(3, bytes.size() - i);
        for (std::size_t k = 0; k < 4; ++k)
            text += k <= used ? letters[(group >> (18 - 6 * k)) & 0x3FU] : '=';
    }
    return text;
}

std::optional<std::string> from_base64(std::string_view text) {
    std::string bytes;
    std::uint32_t group = 0;
    std::size_t bits = 0;
    for (const char c : text.substr(0, text.find('='))) {
        const std::size_t value = letters.find(c);
        if (value == std::string_view::npos) return std::nullopt;
        group = (group << 6U | static_cast<std::uint32_t>(value)) & 0xFFFFU;
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        bytes += static_cast<char>(group >> bits & 0xFFU);
    }
    return base64(bytes) == text ? std::optional(std::move(bytes)) : std::nullopt;
}

}  // namespace jobshim
