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

}  // namespace jobshim
