// jobctl list: a table of jobs, newest first.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <list>

#include "common/clocks.hpp"
#include "common/record_limits.hpp"
#include "common/units.hpp"
#include "shim/jobctl/commands.hpp"
#include "shim/jobctl/companion/survey.hpp"
#include "shim/jobctl/file_watch.hpp"
#include "shim/jobctl/look.hpp"
#include "shim/jobctl/output.hpp"
#include "shim/jobctl/selection.hpp"

namespace jobshim {

namespace {

using std::chrono::milliseconds;

// While watching: beats come without events, and ages grow.
constexpr milliseconds watch_tick{2000};
// Between two looks when much happens at once.
constexpr milliseconds shortest_pause{100};

std::optional<std::int64_t> time_in(const std::optional<JobDocument>& job, std::string_view key) {
    const auto text = job ? job->string(key) : std::nullopt;
    return text ? parse_iso_time(*text) : std::nullopt;
}

std::string describe_started(const JobReport& report) {
    const auto started = time_in(report.job, "startedAt");
    if (!started) return "-";
    return iso_time(*started).substr(0, 19) + "Z";  // milliseconds are of no use here
}

// exit.durationMs. Uses only the scanner: a full parse of 10,000 records would be noticeable.
std::optional<milliseconds> recorded_duration(const JobDocument& job) {
    const auto object_in = [](std::string_view text) {
        return text.starts_with('{') ? text : std::string_view();
    };
    const auto run = object_in(job.value("jobshim").value_or(""));
    const auto exit = object_in(find_json_member(run, "exit"));
    const auto text = find_json_member(exit, "durationMs");
    std::int64_t ms = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ms);
    if (error != std::errc{} || end != text.data() + text.size() ||
        !possible_durations_ms.contains(ms))
        return std::nullopt;
    return milliseconds(ms);
}

bool is_live(State state) {
    return state == State::running || state == State::stalled || state == State::orphaned;
}

std::string duration_in_table(const JobReport& report, std::int64_t now_ms) {
    std::optional<milliseconds> duration;
    if (is_live(report.verdict.state)) {
        if (const auto started = time_in(report.job, "startedAt"))
            duration = milliseconds(std::max<std::int64_t>(0, now_ms - *started));
    } else if (report.job && is_final(report.job->status())) {
        duration = recorded_duration(*report.job);
    }
    // Milliseconds are of no use in a duration that long.
    if (duration && *duration >= std::chrono::seconds(1))
        duration = std::chrono::duration_cast<std::chrono::seconds>(*duration);
    return duration ? describe_duration(*duration) : "-";
}

// What the table shows about a job.
struct Row {
    JobReport report;             // without its record, which may be large
    std::int64_t created_ms = 0;  // the sort key of the table
    std::string started, duration, title;
    std::string why;   // a line of its own below the job
    std::string json;  // if that is what will be printed
};

bool matches_filter(const JobReport& report, const CtlOptions& options) {
    return options.states.empty() || std::find(options.states.begin(), options.states.end(),
                                               report.verdict.state) != options.states.end();
}

class Rows {
public:
    explicit Rows(const CtlOptions& options) : options_(options), now_ms_(wall_now_ms()) {}

    void add(JobReport report) {
        if (!matches_filter(report, options_)) return;
        Row row;
        if (const auto created = time_in(report.job, "createdAt"))
            row.created_ms = *created;
        else if (const auto started = time_in(report.job, "startedAt"))
            row.created_ms = *started;
        else
            row.created_ms = report.modified_ms;
        row.started = describe_started(report);
        row.duration = duration_in_table(report, now_ms_);
        if (!report.job) {
            row.title = report.verdict.because;
        } else {
            row.title = report.job->string("title").value_or("");
            if (row.title.empty()) row.title = report.job->command_line();
        }
        constexpr std::size_t longest_title = 1'000;
        row.title = printable(row.title.substr(0, longest_title));
        if (options_.why && report.job && report.verdict.state != State::completed)
            row.why = printable(report.verdict.because);
        if (options_.json) row.json = json_of(report);
        report.job.reset();
        row.report = std::move(report);
        rows_.push_back(std::move(row));
    }

    // Newest first.
    std::list<Row> sorted() && {
        rows_.sort([](const Row& a, const Row& b) {
            return a.created_ms != b.created_ms ? a.created_ms > b.created_ms
                                                : a.report.file < b.report.file;
        });
        return std::move(rows_);
    }

private:
    const CtlOptions& options_;
    std::int64_t now_ms_;
    std::list<Row> rows_;  // a list: sorting it moves no rows
};

std::list<Row> rows_of(const CtlOptions& options, const Context& context,
                       const SurveyOptions& survey_options) {
    Rows rows(options);
    survey(context, survey_options, [&](Surveyed job) { rows.add(std::move(job.report)); });
    return std::move(rows).sorted();
}

std::size_t width_of(std::string_view utf8) {
    std::size_t width = 0;
    for (std::size_t at = 0; at < utf8.size(); ++at) width += columns_at(utf8, at);
    return width;
}

std::string cut_to(std::string text, std::size_t width) {
    std::size_t column = 0;
    for (std::size_t at = 0; at < text.size(); ++at) {
        column += columns_at(text, at);
        if (column > width) {
            text.resize(at);
            break;
        }
    }
    return text;
}

struct Line {
    std::vector<std::string> cells;
    std::string below = {};  // an indented line, if not empty
};

// The last column is not padded; it is cut off where the terminal ends.
std::string table_of(const std::vector<Line>& lines, std::size_t screen_width) {
    std::vector<std::size_t> widths(lines.front().cells.size(), 0);
    for (const auto& [cells, below] : lines)
        for (std::size_t i = 0; i < cells.size(); ++i)
            widths[i] = std::max(widths[i], width_of(cells[i]));
    std::string text;
    for (const auto& [cells, below] : lines) {
        std::string line;
        for (std::size_t i = 0; i + 1 < cells.size(); ++i)
            line += cells[i] + std::string(widths[i] - width_of(cells[i]) + 2, ' ');
        line += cells.back();
        line.erase(line.find_last_not_of(' ') + 1);
        text += cut_to(std::move(line), screen_width) + "\n";
        if (!below.empty()) text += cut_to("    " + below, screen_width) + "\n";
    }
    return text;
}

// An id, cut so that it leaves room for the other columns.
std::string id_in_table(const std::string& id, std::size_t screen_width) {
    constexpr std::size_t longest_id = 128;
    const std::size_t most =
        screen_width == std::string::npos ? longest_id : std::max<std::size_t>(screen_width / 3, 8);
    std::string shown = printable_word(std::string_view(id).substr(0, 4 * longest_id));
    if (shown.size() <= most || width_of(shown) <= most) return shown;
    return cut_to(std::move(shown), most - 1) + "\u2026";
}

std::vector<Line> lines_of(const std::list<Row>& rows, std::size_t screen_width) {
    std::vector<Line> lines{{{"ID", "STATUS", "STARTED", "DURATION", "TITLE"}}};
    for (const Row& row : rows)
        lines.push_back(
            {{id_in_table(row.report.id, screen_width), std::string(word(row.report.verdict.state)),
              row.started, row.duration, row.title},
             row.why});
    return lines;
}

struct Screen {
    std::size_t width = std::string::npos;
    std::size_t height = std::string::npos;
};

Screen look_at_screen() {
    winsize size{};
    Screen screen;
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return screen;
    if (size.ws_col > 0) screen.width = size.ws_col;
    if (size.ws_row > 0) screen.height = size.ws_row;
    return screen;
}

// The table as far as it fits, so that its head stays in sight. The last line of the screen is left
// to the cursor.
std::string screenful_of(const std::string& table, std::size_t height) {
    const auto lines = static_cast<std::size_t>(std::count(table.begin(), table.end(), '\n'));
    if (height == std::string::npos || lines < height) return table;
    const std::size_t most = std::max<std::size_t>(height, 4) - 2;  // and a line for the others
    std::size_t end = 0;
    for (std::size_t i = 0; i < most; ++i) end = table.find('\n', end) + 1;
    return table.substr(0, end) + "and " + std::to_string(lines - most) + " more\n";
}

// `redraws`: on a terminal, in place of what is there.
void print_rows(const std::list<Row>& rows, bool json, bool redraws = false) {
    if (!json) {
        const Screen screen = look_at_screen();
        const std::string table = table_of(lines_of(rows, screen.width), screen.width);
        return print(redraws ? "\x1b[H\x1b[2J" + screenful_of(table, screen.height) : table);
    }
    JsonArrayPrinter array;
    for (const Row& row : rows) array.add(row.json);
    array.finish();
}

// What makes the table worth printing again where it cannot be redrawn in place. The mere passing
// of time does not.
std::string gist_of(const std::list<Row>& rows) {
    std::string gist;
    for (const Row& row : rows)
        gist += row.report.file + '\0' + std::string(word(row.report.verdict.state)) + '\0' +
                row.started + '\0' + row.title + '\0';
    return gist;
}

bool is_news(const FileWatch::News& news) {
    return news.some_were_lost ||
           std::any_of(
               news.changes.begin(), news.changes.end(), [](const FileWatch::Change& change) {
                   const std::string& name = change.name;
                   return name.empty() || (name[0] != '.' && (name.ends_with(".json") ||
                                                              name.ends_with(".heartbeat")));
               });
}

void sleep_until_news(FileWatch& watch) {
    const auto then = monotonic_now() + watch_tick;
    std::vector<pollfd> descriptors{{watch.descriptor(), POLLIN, 0}};
    do poll_until(then, descriptors);
    while (!is_news(watch.read()) && monotonic_now() < then);
}

// If a verdict could not be recorded, the attempt itself has touched files in the directory.
bool left_traces(const std::list<Row>& rows) {
    return std::any_of(rows.begin(), rows.end(),
                       [](const Row& row) { return !row.report.not_recorded.empty(); });
}

// Runs until ^C.
[[noreturn]] void watch_jobs(const CtlOptions& options, const Context& context) {
    FileWatch watch;
    BeatMemory beats;
    const bool redraws = ::isatty(STDOUT_FILENO) == 1 && !options.json;
    std::string last_gist = "none yet";
    for (;;) {
        const std::vector<Directory> watched = open_directories(context.directories);
        for (const Directory& directory : watched) watch.watch_directory(directory);
        watch.read();
        // No waiting for a torn file: it is shown again once its writer has closed it.
        const auto rows =
            rows_of(options, context,
                    {.settle = options.settle, .torn_patience = milliseconds(0), .beats = &beats});
        if (left_traces(rows)) watch.read();
        if (std::string gist = gist_of(rows); redraws || gist != last_gist) {
            print_rows(rows, options.json, redraws);
            last_gist = std::move(gist);
        }
        pause_for(shortest_pause);
        sleep_until_news(watch);
    }
}

}  // namespace

Outcome list_jobs(const CtlOptions& options, const Context& context) {
    if (context.is_companion) {
        Rows rows(options);
        for (Surveyed& job : survey_companions(context, options.settle))
            rows.add(std::move(job.report));
        print_rows(std::move(rows).sorted(), options.json);
        return done;
    }
    complain_of_missing_directories(context);
    if (options.watch) watch_jobs(options, context);
    print_rows(rows_of(options, context, {.settle = options.settle}), options.json);
    return done;
}

}  // namespace jobshim
