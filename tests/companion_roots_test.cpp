#include "common/companion/roots.hpp"

#include "common/companion/directory_name.hpp"
#include "tests/catch.hpp"

using namespace jobshim;

TEST_CASE("companion: the name of a workspace's state directory matches the plugin's") {
    struct Row {
        std::string root, name;
    };
    // The expected names were produced by the plugin's own expression, in Node.
    for (const auto& [root, name] : {
             Row{"/home/you/project", "project-55e8fbffcaa6d84b"},
             Row{"/home/you/project/", "project-f1089ef5ee0b2ed2"},
             Row{"/home/you/a b  c", "a-b-c-61774664a8f43512"},
             Row{"/home/you/--x--", "x-26d6dc74b4e91b85"},
             Row{"/home/you/---", "workspace-a1bef04bc4e1221f"},
             Row{"/home/you/a- -b", "a---b-2e4b4118fa411c1b"},
             Row{"/home/you/gr\xC3\xBC\xC3\x9F"
                 "e",
                 "gr-e-9396a17a1b1404af"},
             Row{"/home/you/\xF0\x9F\x98\x80", "workspace-c05a49e6d61c3d07"},
             Row{"/home/you/.dot_File-1", ".dot_File-1-d2fe5fcedfe5aac5"},
             Row{"/", "workspace-8a5edab282632443"},
         }) {
        CAPTURE(root);
        CHECK(companion_name(root, root) == name);
    }
    // The slug comes from the name as given, the hash from the real path.
    CHECK(companion_name("/l/link", "/home/you/project") ==
          "link-" + companion_name("/home/you/project", "/home/you/project").substr(8));
}

TEST_CASE("companion: the kin call a workspace's state directory by other names") {
    const std::string codex = companion_name("/home/you/project", "/home/you/project");
    const std::string hash = "55e8fbffcaa6d84b";
    for (const auto& name : {"project-" + hash, hash, "other_slug-" + hash,
                             "project-" + hash.substr(0, 12), hash.substr(0, 12)})
        CHECK(is_companion_name(name, codex));
    for (const auto& name :
         {"project" + hash, "project-" + hash + "0", "project-" + hash.substr(1),
          "project-" + hash.substr(0, 13), std::string("project"), std::string()})
        CHECK_FALSE(is_companion_name(name, codex));
}

TEST_CASE("companion: the state roots") {
    const auto roots = [](const CompanionVariables& variables) {
        std::vector<std::string> all;
        for (const CompanionRoot& root : companion_roots(variables)) all.push_back(root.describe());
        return all;
    };
    using Roots = std::vector<std::string>;
    const Roots in_tmp{"/tmp/*-companion", "/tmp/codex-companion"};
    CHECK(roots({}) == in_tmp);
    CHECK(roots({"", "", "", "", "", ""}) == in_tmp);
    CHECK(roots({.claude_plugin_data = "/p", .tmpdir = "/t/", .tmp = "/u"}) ==
          Roots{"/p/state", "/t/*-companion", "/t/codex-companion"});
    CHECK(roots({.tmp = "/u", .temp = "/v"}) == Roots{"/u/*-companion", "/u/codex-companion"});
    CHECK(roots({.temp = "/"}) == Roots{"/*-companion", "/codex-companion"});
    // A user's own terminal knows no plugin's directory, but all of them are in one place.
    CHECK(roots({.home = "/home/you"}).front() == "/home/you/.claude/plugins/data/*/state");
    CHECK(roots({.claude_config_dir = "/c", .home = "/home/you"}).front() ==
          "/c/plugins/data/*/state");
    CHECK(roots({.claude_config_dir = "", .home = "/"}).front() == "/.claude/plugins/data/*/state");
    CHECK(roots({.claude_plugin_data = "/p", .home = "/h"}).size() == 4);
}
