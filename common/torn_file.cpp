#include "common/torn_file.hpp"

#include <algorithm>

#include "common/clocks.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds between_looks{10};

// Nothing if the age is unknown: the file may have been truncated between the stat and the read, or
// another machine may have set its times.
std::optional<milliseconds> age_of(const Directory& directory, const std::string& name,
                                   const FileStamp& as_read) {
    if (!directory.is_unchanged(name, as_read) || !directory.is_local()) return std::nullopt;
    return milliseconds(wall_now_ms() - as_read.modified_ns / 1'000'000);
}

}  // namespace

milliseconds remaining_patience(milliseconds patience, std::optional<milliseconds> age) {
    if (!age || age->count() < 0) return patience;
    return std::max(patience - *age, milliseconds(0));
}

bool TornPatience::is_over() const {
    return patience_.count() == 0 || (deadline_ && monotonic_now() >= *deadline_);
}

bool TornPatience::is_over_for(const Directory& directory, const std::string& name,
                               const FileStamp& stamp) const {
    return is_over() || remaining_patience(patience_, age_of(directory, name, stamp)).count() == 0;
}

void TornPatience::pause() {
    if (!deadline_) deadline_ = monotonic_now() + patience_;
    pause_for(between_looks);
}

}  // namespace jobshim
