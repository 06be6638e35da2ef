// What a command line may hold, as a table: what a completion offers.
#pragma once

#include <string>
#include <vector>

namespace jobshim {

struct OptionSyntax {
    std::vector<std::string> names;  // "-n", "--lines"
    std::string value;               // as in --help, "DUR", "kill|keep"; "" for a flag
    std::string help;
    bool may_repeat = false;
    std::vector<std::string> excluded = {};  // names of those that it cannot be combined with
};

struct CommandSyntax {
    std::string name;
    std::string help;
    std::vector<OptionSyntax> options = {};
    std::string operand = {};  // "JOB", "bash|zsh|fish"; "" for none
    bool takes_many = false;   // operands
};

}  // namespace jobshim
