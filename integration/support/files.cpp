#include "integration/support/files.hpp"

#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "integration/support/error.hpp"
#include "integration/support/records.hpp"

namespace harness {

std::string slurp(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();  // unlike an iterator, does not throw when a process's file goes away
    return text.str();
}

void put(const fs::path& file, std::string_view content) {
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
    out.close();
    if (!out) throw std::runtime_error("cannot write " + file.string());
    keep_forgery(file, content);
}

Words names_in(const fs::path& directory, std::string_view part) {
    Words names;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(directory, ignored))
        if (auto name = entry.path().filename().string(); contains(name, part))
            names.push_back(name);
    std::sort(names.begin(), names.end());
    return names;
}

std::int64_t mtime_of(const fs::path& file) {
    struct stat info {};
    if (stat(file.c_str(), &info) != 0) return -1;
    return info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec;
}

fs::path fixture(const std::string& name) {
    return fs::absolute(fs::path(__FILE__).parent_path().parent_path() / "fixtures" / name);
}

TempDir::TempDir()
    : path([] {
          auto name = (fs::temp_directory_path() / "jobshim-test-XXXXXX").string();
          if (!mkdtemp(name.data())) fail_errno(name);
          return fs::canonical(name);
      }()) {}

TempDir::~TempDir() {
    std::error_code ignored;
    // A test may have made directories unwritable; they still have to be removed.
    for (fs::recursive_directory_iterator entry(path, ignored), end; entry != end;
         entry.increment(ignored))
        if (entry->is_directory(ignored) && !entry->is_symlink(ignored))
            fs::permissions(entry->path(), fs::perms::owner_all, fs::perm_options::add, ignored);
    fs::permissions(path, fs::perms::owner_all, fs::perm_options::add, ignored);
    fs::remove_all(path, ignored);
}

}  // namespace harness
