#pragma once

// Records and values that several unit tests start from.

#include <string>

#include "common/exit_reason.hpp"
#include "common/job_document.hpp"
#include "common/oom_evidence.hpp"

namespace jobshim {

inline const std::string this_boot = "0b007000-0000-4000-8000-000000000001";
inline const std::string another_boot = "0b007000-0000-4000-8000-000000000002";
inline const std::string this_machine = "3ac41e00000040008000000000000001";

// As the plugin writes it: JSON.stringify(value, null, 2) plus a line feed.
inline const std::string two_jobs = R"({
  "version": 1,
  "config": {
    "stopReviewGate": true,
    "theirs": 1.10
  },
  "jobs": [
    {
      "id": "task-2",
      "status": "completed",
      "summary": "half an emoji \ud83d, and [\"},{"
    },
    {
      "id": "task-1",
      "status": "running",
      "pid": 7,
      "big": 123456789012345678901234567890
    }
  ]
}
)";

inline JobDocument doc(const std::string& text) { return JobDocument::parse(text); }

inline Conclusion killed() {
    Ending end;
    end.wait_status = 9;
    end.result_expected = true;
    return judge_witnessed(end);
}

inline OomBaseline baseline(std::string counter, std::uint64_t kills) {
    OomBaseline result;
    result.group = "/jobs/x";
    result.counter = std::move(counter);
    result.kills = kills;
    return result;
}

}  // namespace jobshim
