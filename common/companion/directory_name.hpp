// What codex-companion calls the state directory of a workspace. Pure.
//
// Caveats: in a library of its own, for it needs one that the shim does without.
#pragma once

#include <string>
#include <string_view>

namespace jobshim {

// The directory's name below a state root: "SLUG-HASH". `root` is the workspace's as given,
// `real_root` its real path.
std::string companion_name(std::string_view root, std::string_view real_root);

}  // namespace jobshim
