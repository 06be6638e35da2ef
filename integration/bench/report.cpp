#include "integration/bench/report.hpp"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace bench {

namespace {

using Json = nlohmann::json;

[[gnu::format(printf, 1, 2)]] std::string print(const char* format, ...) {
    char text[512];
    va_list values;
    va_start(values, format);
    std::vsnprintf(text, sizeof text, format, values);
    va_end(values);
    return text;
}

double wall_of(const Json& runners, const std::string& name, const char* key = "wallP50Us") {
    for (const Json& row : runners)
        if (row.at("name") == name) return row.at(key);
    return 0;
}

std::string times(double value, double of) { return of > 0 ? print("%.2f", value / of) : "-"; }

std::string runners_table(const Json& runners) {
    const double bare = wall_of(runners, "posix_spawn");
    const double tini = wall_of(runners, "tini -s");
    std::string text =
        "| `true` behind | wall p50, us | p10 | x bare | x tini | cpu, us | page faults | system "
        "calls |\n|---|---:|---:|---:|---:|---:|---:|---:|\n";
    for (const Json& row : runners) {
        const double p50 = row.at("wallP50Us");
        const double p10 = row.at("wallP10Us");
        text += "| " + row.at("name").get<std::string>() + print(" | %.0f | %.0f | ", p50, p10) +
                times(p50, bare) + " | " + times(p50, tini) + " | ";
        if (row.contains("cpuP50Us"))
            text += print("%.0f | %.0f | %d |\n", row.at("cpuP50Us").get<double>(),
                          row.at("pageFaults").get<double>(), row.at("systemCalls").get<int>());
        else
            text += "| | |\n";
    }
    return text;
}

// On a busy machine the 10th percentile says more than the median.
std::string goals(const Json& runs) {
    const std::string alone = "durable replace alone, ";
    std::string text =
        "| ratio (goal: 1.25) | by the median, each run | by the lower tenth |\n"
        "|---|---|---|\n";
    const auto add = [&](const std::string& what, const std::string& shim,
                         const std::string& more) {
        text += "| " + what;
        for (const char* key : {"wallP50Us", "wallP10Us"}) {
            std::string ratios;
            for (const Json& run : runs)
                ratios += (ratios.empty() ? "" : ", ") +
                          times(wall_of(run, shim, key),
                                wall_of(run, "tini -s", key) + wall_of(run, more, key));
            text += " | " + ratios;
        }
        text += " |\n";
    };
    add("`--sync never`, tmpfs, of `tini -s`", "jobshim --sync never, tmpfs", "");
    for (const Json& row : runs.front())
        if (const std::string name = row.at("name"); name.starts_with(alone)) {
            const std::string disk = name.substr(alone.size());
            add("`--sync final`, " + disk + ", of `tini -s` and a durable replace",
                "jobshim --sync final, " + disk, name);
        }
    return text;
}

std::string rest_table(const Json& rest) {
    std::string text =
        "| at rest | copies | private dirty, KiB | PSS, KiB | wake-ups a minute | all: % of one "
        "core |\n|---|---:|---:|---:|---:|---:|\n";
    for (const Json& row : rest)
        text += "| " + row.at("name").get<std::string>() +
                print(" | %d | %.0f | %.0f | %.1f | %.3f |\n", row.at("copies").get<int>(),
                      row.at("privateDirtyKiB").get<double>(), row.at("pssKiB").get<double>(),
                      row.at("wakesPerMinute").get<double>(),
                      row.at("cpuOfOneCore").get<double>() * 100);
    return text;
}

std::string latency_table(const Json& latency) {
    std::string text = "| from, to | p10, us | p50 | p90 |\n|---|---:|---:|---:|\n";
    for (const Json& row : latency)
        text += "| " + row.at("name").get<std::string>() +
                print(" | %.0f | %.0f | %.0f |\n", row.at("p10Us").get<double>(),
                      row.at("p50Us").get<double>(), row.at("p90Us").get<double>());
    return text;
}

std::string readers_table(const Json& readers) {
    std::string text =
        "| jobs | jobctl list, ms | with a broken one | jobctl status | python json | list / "
        "python |\n|---:|---:|---:|---:|---:|---:|\n";
    const auto ms = [](const Json& row, const char* key) {
        return row.contains(key) ? print("%.1f", row.at(key).get<double>()) : std::string("-");
    };
    for (const Json& row : readers)
        text += print("| %d | ", row.at("jobs").get<int>()) + ms(row, "listMs") + " | " +
                ms(row, "listWithBrokenMs") + " | " + ms(row, "statusMs") + " | " +
                ms(row, "pythonMs") + " | " + times(row.at("listMs"), row.value("pythonMs", 0.0)) +
                " |\n";
    return text;
}

std::string throughput_table(const Json& throughput) {
    std::string text =
        "| `yes \\| head -c N` | N, MiB | bare, ms | jobshim, ms | jobshim / bare |\n"
        "|---|---:|---:|---:|---:|\n";
    for (const Json& row : throughput)
        text += "| " + row.at("name").get<std::string>() +
                print(" | %d | %.0f | %.0f | ", row.at("mebibytes").get<int>(),
                      row.at("bareMs").get<double>(), row.at("jobshimMs").get<double>()) +
                times(row.at("jobshimMs"), row.at("bareMs")) + " |\n";
    return text;
}

std::string escaped(const std::string& text) {
    std::string result;
    for (const char c : text)
        result += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
    return result;
}

}  // namespace

std::string as_markdown(const Json& found) {
    std::string text =
        print("Linux %s, %d cores, %d rounds\n\n", found.at("kernel").get<std::string>().c_str(),
              found.at("cores").get<int>(), found.at("rounds").get<int>());
    text += runners_table(found.at("runners").front()) + "\n" + goals(found.at("runners")) + "\n";
    if (found.contains("rest")) text += rest_table(found.at("rest")) + "\n";
    if (found.contains("latency")) text += latency_table(found.at("latency")) + "\n";
    if (found.contains("throughput")) text += throughput_table(found.at("throughput")) + "\n";
    if (found.contains("readers")) text += readers_table(found.at("readers")) + "\n";
    return text;
}

// A bar chart: the median wall time, as a multiple of a bare posix_spawn.
std::string as_svg(const Json& found) {
    constexpr int left = 250;
    constexpr int right = 70;
    constexpr int across = 480;  // length of the longest bar
    constexpr int line = 22;
    constexpr int top = 40;
    const Json& runners = found.at("runners").front();
    const double bare = wall_of(runners, "posix_spawn");
    double longest = 0;
    for (const Json& row : runners) longest = std::max(longest, row.at("wallP50Us").get<double>());
    const int width = left + across + right;
    const int height = top + static_cast<int>(runners.size()) * line + 10;
    std::string text = print(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
        "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"13\">\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
        "<text x=\"10\" y=\"24\" font-size=\"15\">`true` behind a wrapper: wall time (p50), "
        "as a multiple of a bare posix_spawn</text>\n",
        width, height, width, height);
    int y = top;
    for (const Json& row : runners) {
        const std::string name = row.at("name");
        const double wall = row.at("wallP50Us");
        const int bar = longest > 0 ? static_cast<int>(wall / longest * across) : 0;
        text +=
            print("<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", left - 8, y + 15) +
            escaped(name) +
            print(
                "</text>\n<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"16\" fill=\"%s\"/>\n"
                "<text x=\"%d\" y=\"%d\">%s</text>\n",
                left, y + 2, std::max(bar, 1), name.starts_with("jobshim") ? "#c05020" : "#5080b0",
                left + bar + 6, y + 15, times(wall, bare).c_str());
        y += line;
    }
    return text + "</svg>\n";
}

}  // namespace bench
