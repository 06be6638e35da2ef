#include "common/companion/preloaded_command.hpp"

#include "tests/catch.hpp"

using namespace jobshim;

namespace {

const std::string url = "file:///p/lib/preload.mjs";

// The command with ^ where the preload was put in; the command itself if it was left alone.
std::string changed(const std::string& command) {
    auto result = preloaded_command(command, url);
    if (!result) return command;
    const std::string put_in = " --import=" + url;
    const auto at = result->find(put_in);
    return result->replace(at, put_in.size(), "^");
}

}  // namespace

TEST_CASE("preloaded command: each way to start a companion script") {
    for (const std::string expected : {
             R"(node^ /p/scripts/codex-companion.mjs task 'do it')",
             R"(node^ "/p q/scripts/codex-companion.mjs" task "do it; really" && echo done)",
             R"(node^ '/p q/codex-companion.mjs' review)",
             R"(node^ /p\ q/codex-companion.mjs review)",
             R"(node^ "${CLAUDE_PLUGIN_ROOT}/scripts/codex-companion.mjs" status "$ARGUMENTS")",
             R"(node^ "$ROOT"/scripts/gemini-companion.mjs task x)",
             R"(cd "/a b" && node^ x/codex-companion.mjs task)",
             R"raw(cd "$(git rev-parse --show-toplevel)" && node^ x/codex-companion.mjs task)raw",
             "cd /a; FOO=1 BAR='b c' node^ x/codex-companion.mjs task",
             "# first\n  node^ x/codex-companion.mjs task",
             "echo \"node y-companion.mjs\"\nnode^ x-companion.mjs",
             "node --version; node^ x-companion.mjs",
             "node^ --no-warnings --stack-size=2000 x-companion.mjs task",
             "(cd /a && node^ x-companion.mjs) | tee log",
             "if node^ x-companion.mjs status; then echo yes; fi",
             "timeout 600 node^ x-companion.mjs task",
             "timeout -k 5 1m node^ x-companion.mjs task",
             "env A=1 nice -n 5 /usr/bin/node^ x-companion.mjs task",
             "exec node^ x-companion.mjs task >out 2>&1 &",
             "2>/dev/null node^ x-companion.mjs task",
             "cd a &&\\\n  node^ x-companion.mjs task",
             "node^ x-companion.mjs task \"$(cat <<'EOF'\nit's \"hard\"\nEOF\n)\"",
             "node^ x-companion.mjs a; node x-companion.mjs b",
         }) {
        CAPTURE(expected);
        std::string command = expected;
        command.erase(command.find('^'), 1);
        CHECK(changed(command) == expected);
    }
}

TEST_CASE("preloaded command: all others are left alone") {
    for (const std::string command : {
             "",
             " ",
             "node",
             "node x.mjs",
             "node x/companion.mjs",
             "node -companion.mjs",
             "node /-companion.mjs",
             "nodejs x-companion.mjs",
             "echo node x-companion.mjs",
             "grep -r node x-companion.mjs",
             "cat x-companion.mjs",
             "vim node x-companion.mjs",
             "echo 'node x-companion.mjs'",
             "bash -c 'node x-companion.mjs task'",
             "node -e 'x-companion.mjs;'",
             "node x.mjs y-companion.mjs",
             "# node x-companion.mjs",
             "echo a # && node x-companion.mjs",
             "cat <<EOF\nnode x-companion.mjs task\nEOF\n",
             "cat <<EOF && node x-companion.mjs\nEOF\n",
             "echo `node x-companion.mjs`",
             "echo $(node x-companion.mjs)",
             "node \"x-companion.mjs",
             "node 'x-companion.mjs",
             "node x-companion.mjs\\",
             "echo \\\n node x-companion.mjs",
             "node > x-companion.mjs",
             "cd \"${A:-\"b c\"}\" && node x-companion.mjs",
             "cd $'a\\'' && node x-companion.mjs",
             "node x-companion.mjs.bak",
             "node -- -companion.mjs",
         }) {
        CAPTURE(command);
        CHECK(changed(command) == command);
    }
    CHECK(changed("node --import=" + url + " x-companion.mjs") ==
          "node --import=" + url + " x-companion.mjs");
}

TEST_CASE("preloaded command: the URL of the preload needs no quotes") {
    CHECK(file_url("/a/b-c_d.~1/preload.mjs") == "file:///a/b-c_d.~1/preload.mjs");
    CHECK(file_url("/a b/#?%&'\"$`\\;*\xC3\xBC") ==
          "file:///a%20b/%23%3F%25%26%27%22%24%60%5C%3B%2A%C3%BC");
}
