// The heartbeat file, cut off anywhere, and the cancel request: the two small files beside a job.
//
// The first check takes the input as the text of a file; the others draw the values of a whole life
// from it.
#include <algorithm>

#include "tests/fuzz/fuzz.hpp"

using namespace jobshim;
using namespace jobshim::fuzz;

namespace {

// All that a reader learns from a heartbeat file, as text.
std::string text_of(const Heartbeat& beat) {
    if (!beat.run) return "";
    return heartbeat_first_line(*beat.run, beat.job_file, beat.started_at) +
           (beat.last ? heartbeat_last_line(*beat.last) : "");
}

void check_any_text(std::string_view text) {
    const Heartbeat beat = parse_heartbeat(text);
    demand(!beat.run || beat.run->shim.pid > 0, "a run has a shim");
    demand_possible(beat.run);
    if (beat.last) demand_possible(std::optional(beat.last->exit));
    if (beat.oom)
        for (const auto amount :
             {beat.oom->kills, beat.oom->group_kills.value_or(0), beat.oom->kills_below.value_or(0),
              static_cast<std::uint64_t>(beat.oom->at_us)})
            demand(possible_amounts.contains(amount), "a counter is possible");
    demand(!beat.last || beat.run, "no end without a beginning");
    demand(!beat.last || is_final(beat.last->status), "an end is final");
    // A line counts only once its line feed is there.
    const std::size_t whole = text.rfind('\n') + 1;  // 0 if there is none
    demand_equal(text_of(parse_heartbeat(text.substr(0, whole))), text_of(beat),
                 "a torn line says nothing");
    const std::string as_text = text_of(beat);
    demand_equal(text_of(parse_heartbeat(as_text)), as_text, "what was read is written back");

    if (const auto cancel = parse_cancel_request(text)) {
        demand_possible(cancel);
        const std::string request = cancel_request_text(*cancel);
        const auto again = parse_cancel_request(request);
        demand(again.has_value(), "a request stays one", request);
        demand_equal(cancel_request_text(*again), request, "a request is written back");
    }
}

void check_life(Draw& draw) {
    const RunRecord run = draw_run(draw);
    const std::string job = draw.text();
    const std::string started = draw.text();
    const WorkerIdentity worker = draw_worker(draw);
    const Conclusion last = draw_conclusion(draw);

    const std::string first_line = heartbeat_first_line(run, job, started);
    const std::string last_line = heartbeat_last_line(last);
    const std::string begun = first_line + heartbeat_worker_line(worker);
    const std::string all = begun + last_line;
    demand(first_line.starts_with(heartbeat_magic), "a heartbeat file is known by its first bytes");
    demand(std::count(all.begin(), all.end(), '\n') == 3, "three lines");

    // Cut where the input says, and around the end of one line.
    const std::size_t anywhere = draw.number<std::uint16_t>() % (all.size() + 1);
    const std::size_t ends[] = {first_line.size(), begun.size(), all.size()};
    const std::size_t end = ends[draw.choice(3)];
    for (const std::size_t cut : {anywhere, end - 1, end}) {
        const Heartbeat beat = parse_heartbeat(std::string_view(all).substr(0, cut));
        demand(beat.run.has_value() == (cut >= first_line.size()), "a run is read once whole");
        demand(beat.last.has_value() == (cut == all.size()), "an end is read once whole");
        if (!beat.run) continue;
        demand_equal(beat.job_file, job, "job");
        demand_equal(beat.started_at, started, "startedAt");
        RunRecord wanted = run;
        if (cut >= begun.size()) wanted.worker = worker;
        demand(beat.run->worker == wanted.worker, "a worker is read once whole");
        demand_equal(fuzz::text_of(*beat.run), fuzz::text_of(wanted), "the run");
        if (beat.last) demand_equal(heartbeat_last_line(*beat.last), last_line, "the end");
    }
}

void check_request(Draw& draw) {
    const CancelRequest request = draw_cancel(draw);
    const std::string text = cancel_request_text(request);
    const auto read = parse_cancel_request(text);
    demand(read.has_value(), "a request is read", text);
    demand_equal(cancel_request_text(*read), text, "a request is as written");
    demand(read->signal == request.signal && read->kill_after_ms == request.kill_after_ms,
           "its signal and grace too", text);
    const std::size_t cut = draw.number<std::uint16_t>() % text.size();
    demand(cut == text.size() - 1 || !parse_cancel_request(std::string_view(text).substr(0, cut)),
           "half a request is none", text.substr(0, cut));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    check_any_text(view(data, size));
    Draw draw(view(data, size));
    check_life(draw);
    check_request(draw);
    return 0;
}
