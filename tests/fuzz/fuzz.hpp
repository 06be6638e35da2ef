// What the fuzz targets share: values drawn from an input, and promises to be checked.
//
// A target is a file NAME_fuzz.cpp that defines LLVMFuzzerTestOneInput. In the preset `fuzz` it is
// linked with libFuzzer, elsewhere with replay.cpp, which feeds it the saved inputs.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/heartbeat_lines.hpp"
#include "common/job_document.hpp"
#include "common/record_limits.hpp"
#include "common/units.hpp"

// libFuzzer's name for it.
// NOLINTNEXTLINE(readability-identifier-naming)
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace jobshim::fuzz {

inline std::string_view view(const std::uint8_t* data, std::size_t size) {
    return {reinterpret_cast<const char*>(data), size};
}

// Ends the process, as a crash would, if the promise is broken.
inline void demand(bool kept, const char* promise, std::string_view details = {}) {
    if (kept) return;
    std::fprintf(stderr, "BROKEN: %s\n%s\n", promise, printable(details, true).c_str());
    std::abort();
}
inline void demand_equal(std::string_view got, std::string_view wanted, const char* promise) {
    demand(got == wanted, promise,
           "got:    " + std::string(got) + "\nwanted: " + std::string(wanted));
}

// True if the text, which is UTF-8, contains what could control a terminal or make its lines read
// as others. Line feeds and tabs count only if they are not `kept`.
inline bool could_deceive(std::string_view text, bool lines_are_kept = false) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c == 0x7F || (c < 0x20 && !(lines_are_kept && (c == '\n' || c == '\t')))) return true;
        const std::string_view rest = text.substr(i);
        if (rest.starts_with("\xC2") && static_cast<unsigned char>(rest[1]) < 0xA0) return true;
        for (const char* control : {"\u061C", "\u200E", "\u200F", "\u202A", "\u202B", "\u202C",
                                    "\u202D", "\u202E", "\u2066", "\u2067", "\u2068", "\u2069"})
            if (rest.starts_with(control)) return true;
    }
    return false;
}

// Takes values off the front of an input. Once the input is used up, all values are 0 or empty.
class Draw {
public:
    explicit Draw(std::string_view input) : rest_(input) {}

    std::uint8_t byte() {
        if (rest_.empty()) return 0;
        const auto first = static_cast<std::uint8_t>(rest_.front());
        rest_.remove_prefix(1);
        return first;
    }
    bool flag() { return (byte() & 1U) != 0; }
    // One of `count` choices, from 0.
    int choice(int count) { return byte() % count; }

    // Small numbers, the ends of the range, and anything between.
    template <class Number>
    Number number() {
        switch (choice(4)) {
            case 0:
                return static_cast<Number>(byte());
            case 1:
                return std::numeric_limits<Number>::max();
            case 2:
                return std::numeric_limits<Number>::min();
        }
        std::uint64_t wide = 0;
        for (int i = 0; i < 8; ++i) wide = (wide << 8U) | byte();
        return static_cast<Number>(wide);
    }
    // Arbitrary bytes, 255 at most.
    std::string bytes() {
        const std::size_t wanted = byte();
        const std::string_view taken = rest_.substr(0, wanted);
        rest_.remove_prefix(taken.size());
        return std::string(taken);
    }
    // As the callers of job_document pass their texts.
    std::string text() { return to_utf8(bytes()); }
    std::vector<std::string> texts() {
        std::vector<std::string> all(static_cast<std::size_t>(choice(4)));
        for (std::string& one : all) one = text();
        return all;
    }
    template <class Make>
    auto maybe(Make make) {
        std::optional<decltype(make())> value;
        if (flag()) value = make();
        return value;
    }

private:
    std::string_view rest_;
};

// What a record may hold. Often one of the two ends.
template <class Number = std::int64_t>
Number draw_within(Draw& draw, const Range& range) {
    const auto span = static_cast<std::uint64_t>(range.most - range.least) + 1;
    switch (draw.choice(4)) {
        case 0:
            return static_cast<Number>(range.least);
        case 1:
            return static_cast<Number>(range.most);
    }
    return static_cast<Number>(range.least +
                               static_cast<std::int64_t>(draw.number<std::uint64_t>() % span));
}

inline int draw_pid(Draw& draw) { return draw_within<int>(draw, possible_pids); }

// An id of the machine or of a boot; "": unknown.
inline std::string draw_hex(Draw& draw, std::string shape) {
    if (!draw.flag()) return "";
    for (char& c : shape)
        if (c == 'x') c = "0123456789abcdef"[draw.choice(16)];
    return shape;
}

inline Requester draw_requester(Draw& draw, std::string how) {
    Requester by;
    by.how = std::move(how);
    by.pid = draw.maybe([&] { return draw_pid(draw); });
    by.uid = draw.maybe([&] { return draw_within(draw, possible_uids); });
    by.command = draw.text();
    return by;
}

inline CancelRequest draw_cancel(Draw& draw) {
    CancelRequest cancel;
    cancel.what.by = draw_requester(draw, "jobctl cancel");
    cancel.what.reason = draw.text();
    cancel.at = "at " + draw.text();  // a request without a time does not count
    // Whatever --signal accepts.
    cancel.signal = draw.maybe([&] { return 1 + draw.choice(64); });
    cancel.kill_after_ms = draw.maybe([&] { return draw_within(draw, possible_durations_ms); });
    return cancel;
}

inline RunRecord draw_run(Draw& draw) {
    RunRecord run;
    run.shim.pid = draw_pid(draw);
    run.shim.start_time = draw.maybe([&] { return draw.number<std::uint64_t>(); });
    run.shim.boot_id = draw_hex(draw, "xxxx0000-0000-4000-8000-00000000xxxx");
    run.shim.machine_id = draw_hex(draw, "xxxx00000000400080000000000000xx");
    run.shim.pid_namespace = draw.maybe([&] { return draw.number<std::uint64_t>(); });
    run.shim.host = draw.text();
    if (run.shim.host.size() > longest_host_name) run.shim.host = "host";
    run.heartbeat_file = draw.text();
    run.interval_ms = draw_within(draw, possible_intervals_ms);
    run.kill_on_shim_death = draw.flag();
    run.log = draw.maybe([&] {
        std::string path = "/" + draw.text();
        std::erase(path, '\0');  // no path has one
        return LogStart{std::move(path), draw_within(draw, possible_amounts), std::nullopt};
    });
    run.cancel = draw.maybe([&] { return draw_cancel(draw); });
    run.command = draw.texts();
    return run;
}

inline WorkerIdentity draw_worker(Draw& draw) {
    WorkerIdentity worker;
    worker.pid = draw_pid(draw);
    worker.start_time = draw.maybe([&] { return draw.number<std::uint64_t>(); });
    worker.group = draw.flag() ? Group::share : Group::own;
    worker.session = draw.maybe([&] { return draw_within<int>(draw, possible_sessions); });
    return worker;
}

inline Conclusion draw_conclusion(Draw& draw) {
    Conclusion last;
    ExitRecord& exit = last.exit;
    exit.reason = static_cast<ExitReason>(draw.choice(static_cast<int>(ExitReason::unknown) + 1));
    exit.certainty = static_cast<Certainty>(draw.choice(static_cast<int>(Certainty::unknown) + 1));
    exit.code = draw.maybe([&] { return draw_within<int>(draw, possible_exit_codes); });
    exit.signal = draw.maybe([&] { return draw_within<int>(draw, possible_signals); });
    exit.core_dumped = draw.maybe([&] { return draw.flag(); });
    exit.wait_status = draw.maybe([&] { return draw_within<int>(draw, possible_wait_statuses); });
    exit.errno_name = draw.text();
    exit.evidence = draw.texts();
    exit.requested_by = draw.maybe([&] { return draw_requester(draw, draw.text()); });
    exit.ended_at = draw.text();
    exit.duration_ms = draw.maybe([&] { return draw_within(draw, possible_durations_ms); });
    exit.resources = draw.maybe([&] {
        return Resources{draw_within(draw, possible_amounts), draw_within(draw, possible_amounts),
                         draw_within(draw, possible_amounts)};
    });
    for (int left = draw.choice(3); left > 0; --left)
        exit.leftovers.push_back({draw_pid(draw), draw.text()});
    exit.tail = draw.maybe([&] { return draw.text(); });
    static constexpr Status ends[] = {Status::completed, Status::failed, Status::cancelled};
    last.status = ends[draw.choice(3)];
    last.sentence = draw.text();
    return last;
}

// Whatever a file says, only what is possible is read from it.
inline void demand_possible(const std::optional<Requester>& by) {
    if (!by) return;
    demand(!by->pid || possible_pids.contains(*by->pid), "a requester's pid is possible");
    demand(!by->uid || possible_uids.contains(*by->uid), "a requester's uid is possible");
}
inline void demand_possible(const std::optional<CancelRequest>& cancel) {
    if (!cancel) return;
    demand_possible(std::optional(cancel->what.by));
    demand(!cancel->signal || possible_signals.contains(*cancel->signal),
           "a request's signal is possible");
    demand(!cancel->kill_after_ms || possible_durations_ms.contains(*cancel->kill_after_ms),
           "a request's grace is possible");
}
inline void demand_possible(const std::optional<ExitRecord>& exit) {
    if (!exit) return;
    demand(!exit->code || possible_exit_codes.contains(*exit->code), "a code is possible");
    demand(!exit->signal || possible_signals.contains(*exit->signal), "a signal is possible");
    demand(!exit->wait_status || possible_wait_statuses.contains(*exit->wait_status),
           "a wait status is possible");
    demand(!exit->duration_ms || possible_durations_ms.contains(*exit->duration_ms),
           "a duration is possible");
    demand_possible(exit->requested_by);
    if (exit->resources)
        for (const std::int64_t amount :
             {exit->resources->user_ms, exit->resources->system_ms, exit->resources->max_rss_kib,
              exit->resources->group_peak_kib.value_or(0)})
            demand(possible_amounts.contains(amount), "an amount is possible");
    for (const Leftover& left : exit->leftovers)
        demand(possible_pids.contains(left.pid), "a leftover's pid is possible");
}
inline void demand_possible(const std::optional<RunRecord>& run) {
    if (!run) return;
    demand(run->shim.pid == 0 || possible_pids.contains(run->shim.pid), "a shim's pid is possible");
    demand(possible_part_of(run->shim) == run->shim, "a shim's identity is possible");
    if (run->worker) {
        demand(possible_pids.contains(run->worker->pid), "a worker's pid is possible");
        demand(!run->worker->session || possible_sessions.contains(*run->worker->session),
               "a worker's session is possible");
    }
    demand(possible_intervals_ms.contains(run->interval_ms), "an interval is possible");
    demand(
        !run->log || (!run->log->file.empty() && run->log->file.find('\0') == std::string::npos &&
                      possible_amounts.contains(run->log->offset)),
        "where a log begins is possible");
    demand_possible(run->cancel);
    demand_possible(run->exit);
}

// All that a reader learns about a run, as text, except its `source` and exact bytes.
inline std::string text_of(RunRecord run) {
    run.source.clear();
    run.raw_command.clear();
    run.raw_cwd.clear();
    return heartbeat_first_line(run, "", "");
}

}  // namespace jobshim::fuzz
