#include "integration/companion.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <ctime>

namespace harness {

namespace {

std::string text_of(const Json& value) { return value.dump(2) + "\n"; }

}  // namespace

pid_t gone_pid() {
    const pid_t pid = fork();
    if (pid == 0) _exit(0);
    waitpid(pid, nullptr, 0);
    return pid;
}

Process spawn_companion(Sandbox& sandbox, const fs::path& script, const Words& arguments) {
    const fs::path node = sandbox.dir / "runtime" / "node";
    if (!fs::exists(node)) {
        fs::create_directories(node.parent_path());
        fs::create_symlink("/bin/sh", node);
    }
    const fs::path path = sandbox.dir / script;
    fs::create_directories(path.parent_path());
    put(path, for_ever_in_shell + "\n");
    return sandbox.spawn(joined({{node, path}, arguments}));
}

std::string state_of(const Json& array, const std::string& id) {
    for (const Json& job : array)
        if (at(job, "/id") == id) return at(job, "/verdict/state").get<std::string>();
    return "not listed";
}

std::string iso_now(std::chrono::milliseconds ago) {
    const auto now = std::chrono::duration_cast<Milliseconds>(
                         std::chrono::system_clock::now().time_since_epoch()) -
                     ago;
    const std::time_t seconds = now.count() / 1000;
    std::tm time{};
    gmtime_r(&seconds, &time);
    std::array<char, 32> text{};
    const auto length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &time);
    const auto ms = std::to_string(1000 + now.count() % 1000).substr(1);
    return std::string(text.data(), length) + "." + ms + "Z";
}

Companion::Companion(fs::path state_directory) : dir(std::move(state_directory)) {
    fs::create_directories(jobs);
    save({{"version", 1}, {"config", {{"stopReviewGate", false}}}, {"jobs", Json::array()}});
}

Json Companion::record(const std::string& id, const std::string& status,
                       std::optional<pid_t> pid) const {
    Json job{{"id", id},
             {"kind", "task"},
             {"title", "Codex Task"},
             {"status", status},
             {"phase", status == "completed" ? "done" : status},
             {"createdAt", iso_now()},
             {"logFile", log_file(id).string()},
             {"request", {{"prompt", "do it"}}},
             {"pid", nullptr}};
    if (pid) job["pid"] = *pid;
    if (status == "running") job["startedAt"] = iso_now();
    return job;
}

void Companion::write_job(const Json& job) const {
    put(job_file(job.at("id").get<std::string>()), text_of(job));
}

void Companion::upsert(const Json& job) const {
    Json stamped = job;
    stamped["updatedAt"] = iso_now();
    write_entry(stamped);
}

void Companion::write_entry(const Json& job) const {
    Json state = load();
    Json* found = nullptr;
    for (Json& entry : state["jobs"])
        if (at(entry, "/id") == job.at("id")) found = &entry;
    if (found == nullptr) {
        state["jobs"].insert(state["jobs"].begin(), Json::object());
        found = &state["jobs"].front();
    }
    found->update(job);
    save(state);
}

void Companion::write_both(const Json& job) const {
    write_job(job);
    upsert(job);
}

void Companion::append_log(const std::string& id, const std::string& line) const {
    const int fd = ::open(log_file(id).c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    (void)!::write(fd, line.data(), line.size());
    ::close(fd);
}

void Companion::cancel(const std::string& id) const {
    append_log(id, "[" + iso_now() + "] Cancelled by user.\n");
    Json job = this->job(id);
    job.update({{"id", id},
                {"status", "cancelled"},
                {"phase", "cancelled"},
                {"pid", nullptr},
                {"errorMessage", "Cancelled by user."}});
    write_both(job);
}

void Companion::remove_files(const std::string& id) const {
    fs::remove(job_file(id));
    fs::remove(log_file(id));
}

void Companion::remove_entry(const std::string& id) const {
    Json state = load();
    Json kept = Json::array();
    for (const Json& entry : state["jobs"])
        if (at(entry, "/id") != id) kept.push_back(entry);
    state["jobs"] = kept;
    save(state);
}

Json Companion::job(const std::string& id) const {
    const Json job = Json::parse(slurp(job_file(id)), nullptr, false);
    return job.is_object() ? job : Json::object();
}

Json Companion::entry(const std::string& id) const {
    const Json state = load();
    for (const Json& entry : state["jobs"])
        if (at(entry, "/id") == id) return entry;
    return Json::object();
}

std::string Companion::statuses(const std::string& id) const {
    return job(id).value("status", "-") + " " + entry(id).value("status", "-");
}

std::string Companion::worker(const std::string& id, const std::string& rest) const {
    // As runTrackedJob does: rewrites the whole record with its own pid.
    return "sed 's/\"status\": *\"queued\"/\"status\": \"running\"/; s/\"pid\": "
           "*[a-z0-9]*/\"pid\": "
           "'$$'/; s/\"phase\"/\"startedAt\": \"'$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)'\", "
           "\"threadId\": \"thr_1\", \"phase\"/' '" +
           job_file(id).string() + "' > '" + (dir / ("." + id)).string() + "'; cat '" +
           (dir / ("." + id)).string() + "' > '" + job_file(id).string() + "'; " + rest;
}

Json Companion::load() const {
    Json state = Json::parse(slurp(index), nullptr, false);
    if (!state.is_object()) state = {{"version", 1}, {"config", {{"stopReviewGate", false}}}};
    if (!at(state, "/jobs").is_array()) state["jobs"] = Json::array();
    return state;
}

void Companion::save(const Json& state) const { put(index, text_of(state)); }

}  // namespace harness
