#include "integration/support/json.hpp"

#include "integration/support/records.hpp"
#include "tests/catch.hpp"

namespace harness {

Json read_json(const fs::path& file) {
    const auto text = slurp(file);
    INFO(file << " holds: " << text.substr(0, 2000));
    keep_record(file, text);
    return Json::parse(text);
}

Json at(const Json& value, const std::string& pointer) {
    const Json::json_pointer path(pointer);
    return value.contains(path) ? value.at(path) : Json("<missing>");
}

}  // namespace harness
