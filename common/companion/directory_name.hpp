// The name that codex-companion gives to the state directory of a workspace. Pure.
//
// Caveats: this is a library of its own, because it needs one (libmd) that the shim does without.
#pragma once

#include <string>
#include <string_view>

namespace jobshim {

// The directory's name in a state root: "SLUG-HASH". `root` is the workspace root as given,
// `real_root` its real path.
std::string companion_name(std::string_view root, std::string_view real_root);

// True if the plugin or one of its kin may call the state directory so that codex-companion calls
// `codex_name`: the slug differs among them, or is left out, and some take only 12 digits of the
// hash.
bool is_companion_name(std::string_view name, std::string_view codex_name);

}  // namespace jobshim
