// The moments at which somebody who waits for events has something to do by the clock.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <optional>

namespace jobshim {

// One moment per enumerator of `Name`, the last of which is `count`. Pure: the caller's clock is
// passed in, and any will do.
template <class Name>
class Timers {
public:
    using nanoseconds = std::chrono::nanoseconds;

    void set(Name name, nanoseconds at) { slot(name) = at; }
    // Unless it is already set to an earlier moment.
    void set_no_later(Name name, nanoseconds at) {
        slot(name) = std::min(slot(name).value_or(at), at);
    }
    bool is_set(Name name) const { return moments_[index(name)].has_value(); }

    // Nothing if none is set.
    std::optional<nanoseconds> next() const {
        std::optional<nanoseconds> first;
        for (const auto& moment : moments_)
            if (moment && (!first || *moment < *first)) first = moment;
        return first;
    }

    // True if its moment has come; it is then no longer set.
    bool take(Name name, nanoseconds now) {
        if (!slot(name) || now < *slot(name)) return false;
        slot(name).reset();
        return true;
    }

private:
    static constexpr std::size_t index(Name name) { return static_cast<std::size_t>(name); }
    std::optional<nanoseconds>& slot(Name name) { return moments_[index(name)]; }

    std::array<std::optional<nanoseconds>, static_cast<std::size_t>(Name::count)> moments_;
};

}  // namespace jobshim
