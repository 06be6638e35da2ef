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
// Events that are named although the time says that they were told: a record that another program
// changes right after them has a later time.
constexpr std::size_t last_ones = 8;
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
    for (const Oddity oddity : {Oddity::stalled, Oddity::orphaned, Oddity::unknown, Oddity::awaited,
                                Oddity::unrecorded})
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

void EventPosition::tell(std::uint64_t key, std::int64_t changed_ns) {
    std::erase_if(told, [&](const Told& each) { return each.key == key; });
    told.push_back({key, changed_ns});
}

void EventPosition::advance_to(std::int64_t changed_ns) {
    told_before = std::max(told_before, changed_ns);
    const std::size_t old = told.size() - std::min(told.size(), last_ones);
    const auto first_kept =
        std::remove_if(told.begin(), told.begin() + static_cast<std::ptrdiff_t>(old),
                       [&](const Told& each) { return each.changed_ns < told_before; });
    told.erase(first_kept, told.begin() + static_cast<std::ptrdiff_t>(old));
}

std::int64_t EventPosition::beginning_of_news() const { return std::max(told_before, ends_after); }

std::string text_of(const std::vector<EventPosition>& cursor) {
    std::string bytes(1, version);
    for (const EventPosition& position : cursor) {
        append_number(bytes, position.directory, directory_bytes);
        append_number(bytes, static_cast<std::uint64_t>(position.told_before), time_bytes);
        const bool has_floor = position.ends_after > position.told_before;
        bytes += has_floor ? '\1' : '\0';
        if (has_floor)
            append_number(bytes, static_cast<std::uint64_t>(position.ends_after), time_bytes);
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
        if (has_floor == 1) position.ends_after = reader.time();
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
