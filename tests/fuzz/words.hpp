// An argv drawn from an input, and an independent reader of it to compare CLI11 with: plain options
// with or without values, as getopt_long reads them.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/fuzz.hpp"

namespace jobshim::fuzz {

// What main receives: the words that NUL terminates in the input, and a null pointer after the
// last.
class Words {
public:
    Words(const char* program, std::string_view input) : words_{program} {
        while (!input.empty()) {
            const std::size_t end = std::min(input.find('\0'), input.size());
            words_.emplace_back(input.substr(0, end));
            input.remove_prefix(std::min(end + 1, input.size()));
        }
        for (std::string& word : words_) pointers_.push_back(word.data());
        pointers_.push_back(nullptr);
    }
    int argc() const { return static_cast<int>(words_.size()); }
    char** argv() { return pointers_.data(); }
    const std::string& operator[](std::size_t i) const { return words_[i]; }
    std::size_t size() const { return words_.size(); }

private:
    std::vector<std::string> words_;
    std::vector<char*> pointers_;
};

struct Grammar {
    std::set<std::string> with_value;
    std::set<std::string> flags;
    std::map<std::string, std::string> short_forms;  // "-j": "--job"
    bool operands_among_options = false;             // otherwise the first operand ends the options
};

struct Reading {
    bool wrong = false;                                      // no parser could accept it
    bool unusual = false;                                    // CLI11 may or may not accept it
    std::map<std::string, std::vector<std::string>> values;  // by long name
    std::set<std::string> flags;
    std::vector<std::string> operands;
    std::size_t operands_at = 0;  // index of the first operand, if operands come last

    bool has(const std::string& flag) const { return flags.count(flag) != 0; }
    std::string value(const std::string& name) const {
        const auto found = values.find(name);
        return found == values.end() ? "" : found->second.back();
    }
};

inline Reading read_words(const Words& words, std::size_t begin, const Grammar& grammar) {
    Reading reading;
    std::size_t i = begin;
    for (; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (word == "--") {
            ++i;
            break;
        }
        if (word.size() < 2 || word[0] != '-') {
            if (!grammar.operands_among_options) break;
            reading.operands.push_back(word);
            continue;
        }
        const bool is_long = word[1] == '-';
        const std::size_t equals = is_long ? word.find('=') : std::string::npos;
        std::string name = is_long ? word.substr(0, equals) : word.substr(0, 2);
        const bool has_more = is_long ? equals != std::string::npos : word.size() > 2;
        const std::string more = !has_more ? "" : word.substr(is_long ? equals + 1 : 2);
        if (const auto form = grammar.short_forms.find(name);
            !is_long && form != grammar.short_forms.end())
            name = form->second;
        if (grammar.with_value.count(name) != 0) {
            if (!has_more && i + 1 >= words.size()) {
                reading.wrong = true;
                return reading;
            }
            reading.values[name].push_back(has_more ? more : words[++i]);
        } else if (grammar.flags.count(name) != 0) {
            reading.flags.insert(name);
            reading.unusual = reading.unusual || has_more;  // --flag=true, -fn5
        } else {
            reading.wrong = true;
            return reading;
        }
    }
    reading.operands_at = i;
    for (; i < words.size(); ++i) reading.operands.push_back(words[i]);
    return reading;
}

// Checks that the grammar has every option that has a line in `help`. A missing one would count as
// bad usage, which a fuzzer might find out within a minute, or never.
inline void demand_all_known(const std::string& help, const Grammar& grammar) {
    std::istringstream lines(help);
    for (std::string line; std::getline(lines, line);) {
        const std::size_t begin = line.find("--");
        if (!line.starts_with("  -") || begin == std::string::npos) continue;
        const std::string name = line.substr(begin, line.find_first_of(" ,", begin) - begin);
        demand(grammar.with_value.count(name) != 0 || grammar.flags.count(name) != 0,
               "the grammar knows every option", name);
    }
}

}  // namespace jobshim::fuzz
