// A shell command that starts a companion script, with a preload for Node put in. Pure.
//
// Caveats: this is not a shell. It finds what such commands look like in practice, and leaves alone
// whatever it is not sure of: a command that goes unwatched is better than one that is changed.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace jobshim {

// `node X/codex-companion.mjs ...` becomes `node --import=URL X/codex-companion.mjs ...`, also
// after `cd DIR &&`, assignments, or a command such as `timeout 60`. `url` must not need any
// quoting. Nothing if the command starts no script named *-companion.mjs, or if it has the preload
// already. Only the first one is changed.
std::optional<std::string> preloaded_command(std::string_view command, std::string_view url);

// "file:///..." with everything escaped that a shell or a URL could take for syntax.
std::string file_url(std::string_view absolute_path);

}  // namespace jobshim
