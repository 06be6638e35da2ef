#include "shim/jobctl/event_cursor.hpp"

#include <algorithm>

#include "common/units.hpp"

namespace jobshim {

namespace {

constexpr char version = 1;
constexpr int key_bytes = 6;
constexpr int directory_bytes = 4;
constexpr int time_bytes = 8;
constexpr int count_bytes = 2;
// Ends that are named although the time says that they were told: a record that another program
// changes right after its end has a later time.
constexpr std::size_t ends_named = 4;
// Starts that are: when exactly that was recorded, the record of the end does not say any more.
constexpr std::size_t starts_named = 64;
constexpr std::int64_t start_is_named_for_ns = 1'000'000'000;
// Of states that do no harm if they are told once more.
constexpr std::size_t most_repeatable = 32;

void append_number(std::string& bytes, std::uint64_t number, int size) {
    for (int i = 0; i < size; ++i) bytes += static_cast<char>((number >> (8 * i)) & 0xFFU);
}

class Reader {
public:
    explicit Reader(std::string_view bytes) : bytes_(bytes) {}

    std::uint64_t number(int size) {
        if (bytes_.size() < static_cast<std::size_t>(size)) {
            failed_ = true;
            return 0;
        }
        std::uint64_t number = 0;
        for (int i = 0; i < size; ++i)
            number |= std::uint64_t{static_cast<unsigned char>(bytes_[static_cast<std::size_t>(i)])}
                      << (8 * i);
        bytes_.remove_prefix(static_cast<std::size_t>(size));
        return number;
    }
    std::int64_t time() { return static_cast<std::int64_t>(number(time_bytes)); }
    bool is_at_end() const { return bytes_.empty(); }
    bool failed() const { return failed_; }

private:
    std::string_view bytes_;
    bool failed_ = false;
};

bool is_repeatable(Oddity oddity) {
    return oddity == Oddity::stalled || oddity == Oddity::orphaned || oddity == Oddity::unknown;
}

std::optional<Oddity> oddity_from(std::uint64_t letter) {
    for (const Oddity oddity :
         {Oddity::stalled, Oddity::orphaned, Oddity::unknown, Oddity::awaited, Oddity::unrecorded})
        if (letter == static_cast<unsigned char>(oddity)) return oddity;
    return std::nullopt;
}

void append_odd(std::string& bytes, const std::map<std::uint64_t, Oddity>& odd) {
    std::string entries;
    std::size_t count = 0;
    std::size_t repeatable = 0;
    for (const auto& [key, oddity] : odd) {
        if (is_repeatable(oddity) && repeatable++ >= most_repeatable) continue;
        append_number(entries, key, key_bytes);
        entries += static_cast<char>(oddity);
        ++count;
    }
    append_number(bytes, count, count_bytes);
    bytes += entries;
}

}  // namespace

// FNV-1a, folded.
std::uint64_t event_key(std::initializer_list<std::string_view> words) {
    std::uint64_t hash = 14695981039346656037U;
    const auto take = [&](unsigned char byte) { hash = (hash ^ byte) * 1099511628211U; };
    for (const std::string_view word : words) {
        for (const char c : word) take(static_cast<unsigned char>(c));
        take(0);
    }
    constexpr std::uint64_t mask = (std::uint64_t{1} << (8 * key_bytes)) - 1;
    return (hash >> (8 * key_bytes)) ^ (hash & mask);
}

bool EventPosition::was_told(std::uint64_t key) const {
    return std::any_of(told.begin(), told.end(), [&](const Told& each) { return each.key == key; });
}

void EventPosition::tell(const Told& event) {
    std::erase_if(told, [&](const Told& each) {
        return each.key == event.key || (each.job != 0 && each.job == event.job && !each.is_end);
    });
    told.push_back(event);
}

void EventPosition::advance_to(std::int64_t moment) {
    told_before = std::max(told_before, moment);
    std::size_t later_ends = 0;
    std::size_t later_starts = 0;
    for (std::size_t i = told.size(); i > 0; --i) {
        const Told& each = told[i - 1];
        const bool is_named =
            each.changed_ns >= told_before ||
            (each.is_end ? later_ends < ends_named
                         : later_starts < starts_named &&
                               each.changed_ns >= told_before - start_is_named_for_ns);
        ++(each.is_end ? later_ends : later_starts);
        if (!is_named) told.erase(told.begin() + static_cast<std::ptrdiff_t>(i - 1));
    }
}

std::int64_t EventPosition::beginning_of_news() const { return std::max(told_before, began_at); }

std::string text_of(const std::vector<EventPosition>& cursor) {
    std::string bytes(1, version);
    for (const EventPosition& position : cursor) {
        append_number(bytes, position.directory, directory_bytes);
        append_number(bytes, static_cast<std::uint64_t>(position.told_before), time_bytes);
        const bool has_floor = position.began_at > position.told_before;
        bytes += has_floor ? '\1' : '\0';
        if (has_floor)
            append_number(bytes, static_cast<std::uint64_t>(position.began_at), time_bytes);
        append_number(bytes, position.told.size(), count_bytes);
        for (const auto& told : position.told) append_number(bytes, told.key, key_bytes);
        append_odd(bytes, position.odd);
    }
    return base64(bytes);
}

std::optional<std::vector<EventPosition>> parse_cursor(std::string_view text) {
    const auto bytes = from_base64(text);
    if (!bytes || bytes->empty() || bytes->front() != version) return std::nullopt;
    Reader reader(std::string_view(*bytes).substr(1));
    std::vector<EventPosition> cursor;
    while (!reader.is_at_end()) {
        EventPosition position;
        position.directory = reader.number(directory_bytes);
        position.told_before = reader.time();
        const std::uint64_t has_floor = reader.number(1);
        if (has_floor > 1) return std::nullopt;
        if (has_floor == 1) position.began_at = reader.time();
        for (auto left = reader.number(count_bytes); left > 0 && !reader.failed(); --left)
            position.told.push_back({reader.number(key_bytes), position.told_before});
        for (auto left = reader.number(count_bytes); left > 0 && !reader.failed(); --left) {
            const std::uint64_t key = reader.number(key_bytes);
            const auto oddity = oddity_from(reader.number(1));
            if (!oddity) return std::nullopt;
            position.odd.emplace(key, *oddity);
        }
        if (reader.failed()) return std::nullopt;
        cursor.push_back(std::move(position));
    }
    return cursor;
}

}  // namespace jobshim
