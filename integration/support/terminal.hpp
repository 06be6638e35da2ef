#pragma once

// A terminal with a program on it that leads the session, as after a login.

#include <sys/types.h>

#include <map>
#include <string>

#include "integration/support/sandbox.hpp"

namespace harness {

class Terminal {
public:
    /// 80 columns and 24 rows; without a TERM in `env`, it is "dumb".
    Terminal(Sandbox& box, const Words& argv, std::map<std::string, std::string> env);

    void type(const std::string& text);
    void resize(unsigned short columns, unsigned short rows);
    /// Waits until `text` has been printed, after the text awaited before.
    void await(const std::string& text);
    /// The foreground process group.
    pid_t foreground() const;
    /// The exit status that a shell reports for its last command.
    int status();
    /// Everything printed so far.
    std::string printed();

    Process program;

private:
    void read_on();

    Fd master_;
    std::string printed_;
    std::size_t seen_ = 0;
};

}  // namespace harness
