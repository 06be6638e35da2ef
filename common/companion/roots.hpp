// Where the state directories of codex-companion are. Pure.
#pragma once

#include <string>
#include <vector>

namespace jobshim {

// The arguments are environment variables and may be null: CLAUDE_PLUGIN_DATA, and TMPDIR, TMP and
// TEMP, of which the first that is set counts.
std::vector<std::string> companion_roots(const char* plugin_data, const char* tmpdir,
                                         const char* tmp, const char* temp);

}  // namespace jobshim
