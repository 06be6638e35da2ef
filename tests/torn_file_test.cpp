// How long to wait for a torn file.
#include "common/torn_file.hpp"

#include <filesystem>

#include "common/clocks.hpp"
#include "tests/catch.hpp"
#include "tests/temp_dir.hpp"

using namespace jobshim;
using std::chrono::milliseconds;

TEST_CASE("torn file: the patience that is left depends on the age of the last change") {
    struct Row {
        const char* name;
        std::optional<milliseconds> age;
        milliseconds rest;
    };
    for (const Row& row : {
             Row{"changed this moment", milliseconds(0), milliseconds(1000)},
             Row{"changed a while ago", milliseconds(400), milliseconds(600)},
             Row{"changed exactly that long ago", milliseconds(1000), milliseconds(0)},
             Row{"untouched for an hour", std::chrono::hours(1), milliseconds(0)},
             Row{"changed in the future: not by this clock", milliseconds(-1), milliseconds(1000)},
             Row{"age unknown", {}, milliseconds(1000)},
         }) {
        INFO(row.name);
        CHECK(remaining_patience(milliseconds(1000), row.age) == row.rest);
        CHECK(remaining_patience(milliseconds(0), row.age) == milliseconds(0));
    }
}

TEST_CASE("torn file: patience is counted from the last change") {
    const TempDir dir;
    const Directory directory = Directory::open(dir.path());
    const std::string name = "torn.json";
    const std::string path = dir / name;
    write_text(path, "{\"jobs\": [");
    const std::chrono::hours hour(1);
    const TornPatience patience(hour);
    const auto age_by = [&](int hours) {
        std::filesystem::last_write_time(
            path, std::filesystem::file_time_type::clock::now() - hours * hour);
        return *directory.stamp_at(name);
    };
    CHECK_FALSE(patience.is_over_for(directory, name, age_by(0)));
    CHECK(patience.is_over_for(directory, name, age_by(2)));
    CHECK_FALSE(patience.is_over_for(directory, name, age_by(-2)));
    // It has changed since it was read.
    const auto as_read = age_by(2);
    age_by(3);
    CHECK_FALSE(patience.is_over_for(directory, name, as_read));
    // It has been removed since.
    std::filesystem::remove(path);
    CHECK_FALSE(patience.is_over_for(directory, name, as_read));
    // Another machine may have set its time.
    const Directory proc = Directory::open("/proc");
    const auto stamp = *proc.stamp_at("version");
    CHECK_FALSE(patience.is_over_for(proc, "version", stamp));
    CHECK(TornPatience(milliseconds(0)).is_over_for(proc, "version", stamp));
}

TEST_CASE("torn file: patience ends however often the file is written") {
    const TempDir dir;
    const std::string path = dir / "torn.json";
    TornPatience patience(milliseconds(30));
    const auto began = monotonic_now();
    CHECK_FALSE(patience.is_over());
    while (!patience.is_over()) {
        write_text(path, "{");
        patience.pause();
    }
    const Directory directory = Directory::open(dir.path());
    CHECK(patience.is_over_for(directory, "torn.json", *directory.stamp_at("torn.json")));
    CHECK(monotonic_now() - began >= milliseconds(30));
}
