#include "common/companion/preloaded_command.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace jobshim {

namespace {

constexpr std::string_view script_ending = "-companion.mjs";

// After these, a command may follow.
constexpr std::array openers{"{", "!", "if", "then", "elif", "else", "while", "until", "do"};
// These run the command that follows their options, and the duration or number that some take.
constexpr std::array runners{"command", "exec", "time", "nohup",
                             "setsid",  "env",  "nice", "timeout"};

template <class Set>
bool is_one_of(const Set& set, std::string_view word) {
    return std::find(set.begin(), set.end(), word) != set.end();
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

bool is_assignment(std::string_view word) {
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos || equals == 0 || is_digit(word[0])) return false;
    return std::all_of(word.begin(), word.begin() + static_cast<std::ptrdiff_t>(equals),
                       [](char c) { return is_letter(c) || is_digit(c); });
}

bool is_node(std::string_view word) { return word == "node" || word.ends_with("/node"); }

bool is_script(std::string_view word) {
    return word.ends_with(script_ending) && word.size() > script_ending.size() &&
           word[word.size() - script_ending.size() - 1] != '/';
}

class Words {
public:
    explicit Words(std::string_view text) : text_(text) {}

    // A word, with its quotes removed but nothing expanded; or an operator of one character (a line
    // feed too).
    struct Token {
        std::string word;
        std::size_t end = 0;
        bool is_operator = false;
        bool is_quoted = false;
    };
    // Nothing at the end, and before anything that is not understood.
    std::optional<Token> next() {
        skip_blanks();
        if (at_ >= text_.size()) return std::nullopt;
        const char c = text_[at_];
        if (c == '<' || c == '>') return skip_redirection() ? next() : std::nullopt;
        if (is_operator(c)) return Token{std::string(1, c), ++at_, true, false};
        Token token;
        if (!read_word(token)) return std::nullopt;
        // 2>&1
        const bool is_number = std::all_of(token.word.begin(), token.word.end(), is_digit);
        if (is_number && !token.is_quoted && (peek() == '<' || peek() == '>'))
            return skip_redirection() ? next() : std::nullopt;
        token.end = at_;
        return token;
    }

private:
    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    static bool is_operator(char c) {
        return std::string_view("\n;&|()").find(c) != std::string_view::npos;
    }
    static bool is_blank(char c) { return c == ' ' || c == '\t'; }
    bool is_at(std::string_view what) const { return text_.substr(at_).starts_with(what); }

    void skip_blanks() {
        for (;;) {
            if (is_blank(peek()))
                ++at_;
            else if (is_at("\\\n"))
                at_ += 2;
            else if (peek() == '#')  // a comment: this is where a word begins
                at_ = std::min(text_.find('\n', at_), text_.size());
            else
                return;
        }
    }

    // With its target. A here-document is not understood: its lines look like commands.
    bool skip_redirection() {
        if (is_at("<<")) return false;
        if (is_at("<(") || is_at(">(")) return false;
        while (std::string_view("<>&|").find(peek()) != std::string_view::npos && peek() != '\0')
            ++at_;
        skip_blanks();
        Token target;
        return read_word(target);
    }

    bool read_word(Token& token) {
        while (at_ < text_.size()) {
            const char c = text_[at_];
            if (is_blank(c) || is_operator(c) || c == '<' || c == '>') break;
            if (c == '\'' || c == '"') token.is_quoted = true;
            if (!read_piece(token.word)) return false;
        }
        return true;
    }

    // What a word consists of: a character, a quoted text, or an expansion.
    bool read_piece(std::string& word) {
        const char c = text_[at_];
        if (c == '`' || c == '\0') return false;
        if (c == '\'') return read_single_quoted(word);
        if (c == '"') return read_double_quoted(word);
        if (c == '$') return read_expansion(word);
        if (c == '\\') ++at_;
        if (at_ >= text_.size()) return false;
        word += text_[at_++];
        return true;
    }

    bool read_single_quoted(std::string& word) {
        const std::size_t end = text_.find('\'', at_ + 1);
        if (end == std::string_view::npos) return false;
        word += text_.substr(at_ + 1, end - at_ - 1);
        at_ = end + 1;
        return true;
    }

    bool read_double_quoted(std::string& word) {
        for (++at_; at_ < text_.size();) {
            const char c = text_[at_];
            if (c == '"') {
                ++at_;
                return true;
            }
            if (c == '$') {
                if (!read_expansion(word)) return false;
                continue;
            }
            if (c == '`') return false;
            if (c == '\\' && at_ + 1 < text_.size() &&
                std::string_view("$`\"\\").find(text_[at_ + 1]) != std::string_view::npos)
                ++at_;
            word += text_[at_++];
        }
        return false;
    }

    // As it is written: what it stands for is not known. $NAME needs nothing special.
    bool read_expansion(std::string& word) {
        const std::size_t begin = at_;
        if (is_at("$(")) {
            if (!skip_substitution()) return false;
        } else if (is_at("${")) {
            const std::size_t end = text_.find('}', at_);
            if (end == std::string_view::npos) return false;
            at_ = end + 1;
            if (text_.substr(begin, at_ - begin).find_first_of("'\"`\\$(", 2) !=
                std::string_view::npos)
                return false;
        } else if (is_at("$'") || is_at("$\"")) {
            return false;
        } else {
            ++at_;
        }
        word += text_.substr(begin, at_ - begin);
        return true;
    }

    // Up to the parenthesis that closes it.
    bool skip_substitution() {
        int depth = 0;
        std::string ignored;
        while (at_ < text_.size()) {
            const char c = text_[at_];
            if (is_at("<<") || c == '#') return false;
            if (c == '$' && !is_at("$(")) {
                if (!read_expansion(ignored)) return false;
                continue;
            }
            if (c == '(') ++depth;
            if (c == ')' && --depth == 0) {
                ++at_;
                return true;
            }
            if (c == '$' || c == '(' || c == ')')
                ++at_;
            else if (!read_piece(ignored))
                return false;
        }
        return false;
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace

std::optional<std::string> preloaded_command(std::string_view command, std::string_view url) {
    const std::string preload = "--import=" + std::string(url);
    Words words(command);
    bool is_at_command = true;
    bool is_after_runner = false;
    std::optional<std::size_t> node;  // the end of that word, until its script is known
    while (const auto token = words.next()) {
        const std::string& word = token->word;
        if (token->is_operator) {
            is_at_command = word != ")";
            is_after_runner = false;
            node.reset();
        } else if (node) {
            if (word == preload) return std::nullopt;
            if (word.starts_with('-')) continue;
            if (is_script(word)) return std::string(command).insert(*node, " " + preload);
            node.reset();
        } else if (is_at_command) {
            if (is_node(word)) node = token->end;
            const bool is_keyword = !token->is_quoted && is_one_of(openers, word);
            const bool is_runner = is_one_of(runners, word);
            const bool is_of_runner =
                is_after_runner && (word.starts_with('-') || is_digit(word.front()));
            is_at_command = is_keyword || is_runner || is_of_runner || is_assignment(word);
            is_after_runner = is_runner || is_of_runner;
        }
    }
    return std::nullopt;
}

std::string file_url(std::string_view absolute_path) {
    constexpr std::string_view plain = "/.-_~", digits = "0123456789ABCDEF";
    std::string url = "file://";
    for (const char c : absolute_path) {
        if (is_letter(c) || is_digit(c) || plain.find(c) != std::string_view::npos) {
            url += c;
            continue;
        }
        const auto byte = static_cast<unsigned char>(c);
        url += '%';
        url += digits[byte >> 4U];
        url += digits[byte & 15U];
    }
    return url;
}

}  // namespace jobshim
