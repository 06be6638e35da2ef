#include "common/json_text.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "common/units.hpp"

namespace jobshim {

namespace {

// Typical of a job file; there may be more.
constexpr std::size_t usual_members = 24;
constexpr std::size_t most_portable_levels = 250;
constexpr std::size_t longest_portable_number = 1'000;

// True if the escape at text[at], which is \uXXXX, is half a pair and the other half is missing. In
// a scan from the left, `second_half` is kept for the next call: where one that belongs to a pair
// is.
bool is_lone_surrogate(std::string_view text, std::size_t at, std::size_t& second_half) {
    const auto is_half = [&](std::size_t escape, std::string_view second_digits) {
        return text.substr(escape, 2) == "\\u" && escape + 4 <= text.size() &&
               (text[escape + 2] == 'd' || text[escape + 2] == 'D') &&
               second_digits.find(text[escape + 3]) != std::string_view::npos;
    };
    constexpr std::string_view high = "89abAB";
    constexpr std::string_view low = "cdefCDEF";
    if (is_half(at, low)) return at != second_half;
    if (!is_half(at, high)) return false;
    second_half = at + 6;
    return !is_half(second_half, low);
}

// One pass without recursion: 10,000 levels of nesting must not exhaust the stack.
class Scanner {
public:
    explicit Scanner(std::string_view text) : text_(text) {}

    JsonScan run() {
        at_ = text_.size() - without_byte_order_mark(text_).size();
        skip_space();
        if (!value_at_top()) return fail();
        skip_space();
        if (at_ != text_.size()) return fail();
        if (!object_) result_.fault = JsonFault::not_object;
        return std::move(result_);
    }

private:
    JsonScan fail() {
        if (result_.fault == JsonFault::none) result_.fault = JsonFault::malformed;
        result_.fault_at = at_;
        result_.members.clear();
        return std::move(result_);
    }

    bool value_at_top() {
        object_ = at_ < text_.size() && text_[at_] == '{';
        result_.open = at_;
        std::string nesting;  // the open brackets, outermost first
        if (object_) result_.members.reserve(usual_members);
        do {
            if (!value(nesting)) return false;
            // A value is complete here: close the containers that end after it.
            while (!nesting.empty()) {
                skip_space();
                if (at_ >= text_.size()) return false;
                const char c = text_[at_];
                if (nesting.size() == 1 && object_) result_.members.back().value_end = value_end_;
                if (c == ',') {
                    ++at_;
                    if (nesting.back() == '{' && !key(nesting.size())) return false;
                    break;
                }
                if (c != (nesting.back() == '{' ? '}' : ']')) return false;
                if (nesting.size() == 1) result_.close = at_;
                ++at_;
                value_end_ = at_;
                nesting.pop_back();
            }
        } while (!nesting.empty());
        return true;
    }

    // Reads a scalar or an empty container. Opens any other container (pushes it onto `nesting` and
    // reads its first key) and goes on inside it, down to the first scalar or empty container.
    bool value(std::string& nesting) {
        for (;;) {
            skip_space();
            if (at_ >= text_.size()) return false;
            if (nesting.size() == 1 && object_) result_.members.back().value_begin = at_;
            const char c = text_[at_];
            if (c != '{' && c != '[') {
                const bool good = scalar(c);
                value_end_ = at_;
                return good;
            }
            if (nesting.size() >= max_json_levels) {
                result_.fault = JsonFault::too_deep;
                return false;
            }
            if (nesting.size() >= most_portable_levels) result_.is_for_some_parsers = true;
            ++at_;
            skip_space();
            if (at_ < text_.size() && text_[at_] == (c == '{' ? '}' : ']')) {
                if (nesting.empty()) result_.close = at_;
                ++at_;
                value_end_ = at_;
                return true;
            }
            nesting += c;
            if (c == '{' && !key(nesting.size())) return false;
        }
    }

    bool key(std::size_t level) {
        skip_space();
        const std::size_t begin = at_;
        if (at_ >= text_.size() || text_[at_] != '"' || !string()) return false;
        if (level == 1 && object_) {
            if (result_.members.size() == max_json_members) {
                result_.fault = JsonFault::too_many_members;
                return false;
            }
            result_.members.push_back(
                {decode_json_string(text_.substr(begin, at_ - begin)), begin, 0, 0});
        }
        skip_space();
        if (at_ >= text_.size() || text_[at_] != ':') return false;
        ++at_;
        return true;
    }

    bool scalar(char c) {
        switch (c) {
            case '"':
                return string();
            case 't':
                return word("true");
            case 'f':
                return word("false");
            case 'n':
                return word("null");
            default: {
                const std::size_t begin = at_;
                const bool good = number();
                if (at_ - begin > longest_portable_number) result_.is_for_some_parsers = true;
                return good;
            }
        }
    }

    bool word(std::string_view expected) {
        if (text_.substr(at_, expected.size()) != expected) return false;
        at_ += expected.size();
        return true;
    }

    bool string() {
        ++at_;
        for (;;) {
            // Most bytes of a record are scanned in this loop.
            const char* const end = text_.data() + text_.size();
            const char* next = text_.data() + at_;
            while (next != end && static_cast<unsigned char>(*next) >= 0x20 && *next != '"' &&
                   *next != '\\')
                ++next;
            at_ = static_cast<std::size_t>(next - text_.data());
            if (next == end) return false;
            const auto c = static_cast<unsigned char>(*next);
            if (c == '"') {
                ++at_;
                return true;
            }
            if (c < 0x20) return false;
            if (c == '\\') {
                ++at_;
                if (at_ >= text_.size()) return false;
                if (text_[at_] == 'u') {
                    for (int digit = 0; digit < 4; ++digit)
                        if (++at_ >= text_.size() || hex(text_[at_]) < 0) return false;
                    if (is_lone_surrogate(text_, at_ - 5, last_pair_))
                        result_.has_lone_surrogate = true;
                } else if (std::string_view("\"\\/bfnrt").find(text_[at_]) ==
                           std::string_view::npos) {
                    return false;
                }
            }
            ++at_;
        }
    }

    bool number() {
        if (peek() == '-') ++at_;
        if (peek() == '0')
            ++at_;
        else if (!digits())
            return false;
        if (peek() == '.') {
            ++at_;
            if (!digits()) return false;
        }
        if (peek() == 'e' || peek() == 'E') {
            ++at_;
            if (peek() == '+' || peek() == '-') ++at_;
            if (!digits()) return false;
        }
        return true;
    }

    bool digits() {
        const std::size_t begin = at_;
        while (peek() >= '0' && peek() <= '9') ++at_;
        return at_ > begin;
    }

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    void skip_space() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' ||
                                      text_[at_] == '\r' || text_[at_] == '\t'))
            ++at_;
    }

public:
    static int hex(char c) {
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        if (c >= 'A' && c <= 'F') return c - 'A' + 10;
        return -1;
    }

private:
    std::string_view text_;
    std::size_t at_ = 0;
    std::size_t last_pair_ = 0;  // see is_lone_surrogate
    std::size_t value_end_ = 0;
    bool object_ = false;
    JsonScan result_;
};

void append_utf8(std::string& out, std::uint32_t code) {
    const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0U | (code >> 6U)), put(0x80U | (code & 0x3FU));
    } else if (code < 0x10000) {
        put(0xE0U | (code >> 12U)), put(0x80U | ((code >> 6U) & 0x3FU)),
            put(0x80U | (code & 0x3FU));
    } else {
        put(0xF0U | (code >> 18U)), put(0x80U | ((code >> 12U) & 0x3FU));
        put(0x80U | ((code >> 6U) & 0x3FU)), put(0x80U | (code & 0x3FU));
    }
}

}  // namespace

std::string JsonScan::describe_fault() const {
    switch (fault) {
        case JsonFault::none:
            break;
        case JsonFault::malformed:
        case JsonFault::not_object:
            return "not a JSON object (byte " + std::to_string(fault_at) + ")";
        case JsonFault::too_deep:
            return "nested more than " + std::to_string(max_json_levels) + " levels deep";
        case JsonFault::too_many_members:
            return "more than " + std::to_string(max_json_members) + " members";
    }
    return "";
}

std::string_view without_byte_order_mark(std::string_view text) {
    constexpr std::string_view mark = "\xEF\xBB\xBF";
    return text.starts_with(mark) ? text.substr(mark.size()) : text;
}

JsonScan scan_json_object(std::string_view text) { return Scanner(text).run(); }

std::string without_lone_surrogates(std::string json) {
    std::size_t second_half = 0;
    for (std::size_t at = json.find('\\'); at != std::string::npos; at = json.find('\\', at)) {
        const bool is_code = json.compare(at, 2, "\\u") == 0;
        if (is_code && is_lone_surrogate(json, at, second_half)) json.replace(at + 2, 4, "fffd");
        at += is_code ? 6 : 2;
    }
    return json;
}

std::vector<JsonSpan> split_json_array(std::string_view array) {
    std::vector<JsonSpan> elements;
    std::optional<JsonSpan> element;  // without the white space around it
    int level = 0;
    bool in_string = false;
    for (std::size_t at = 0; at < array.size(); ++at) {
        const char c = array[at];
        if (in_string) {
            if (c == '\\') ++at;
            in_string = c != '"';
            element->end = at + 1;
            continue;
        }
        if (c == ' ' || c == '\n' || c == '\r' || c == '\t') continue;
        if (c == ']' || c == '}') --level;
        if (level == 0 || (level == 1 && c == ',')) {
            if (element) elements.push_back(*element);
            element.reset();
        }
        const bool is_outside = level == 0 || (level == 1 && c == ',');
        if (c == '[' || c == '{') ++level;
        if (is_outside) continue;
        in_string = c == '"';
        if (!element) element = JsonSpan{at, at};
        element->end = at + 1;
    }
    return elements;
}

JsonSize json_size(std::string_view text) {
    std::vector<std::size_t> open;  // how many members each open container has so far
    JsonSize size{1, 0};
    for (std::size_t at = 0; at < text.size(); ++at) {
        switch (text[at]) {
            case '"':
                for (++at; at < text.size() && text[at] != '"'; ++at)
                    if (text[at] == '\\') ++at;
                break;
            case '{':
            case '[':
                open.push_back(0);
                ++size.values;
                break;
            case ',':
                ++size.values;
                break;
            case '}':
            case ']':
                if (!open.empty()) open.pop_back();
                break;
            case ':':
                if (!open.empty()) size.most_members = std::max(size.most_members, ++open.back());
                break;
            default:
                break;
        }
    }
    return size;
}

std::string_view find_json_member(std::string_view object, std::string_view key) {
    const auto trimmed = [](std::string_view text) {
        constexpr std::string_view space = " \t\r\n";
        text.remove_prefix(std::min(text.find_first_not_of(space), text.size()));
        return text.substr(0, text.find_last_not_of(space) + 1);
    };
    std::string_view value;
    std::size_t value_begin = 0;  // of the wanted member; 0 while outside it
    bool is_key = false;          // whether the next string is a key
    int level = 0;
    for (std::size_t at = 0; at < object.size(); ++at) {
        switch (object[at]) {
            case '"': {
                const std::size_t begin = at + 1;
                for (++at; at < object.size() && object[at] != '"'; ++at)
                    if (object[at] == '\\') ++at;
                if (is_key && object.substr(begin, at - begin) == key)
                    value_begin = object.find(':', at) + 1;
                is_key = false;
                break;
            }
            case '{':
            case '[':
                is_key = ++level == 1;
                break;
            case ',':
            case '}':
            case ']':
                if (level == 1 && value_begin != 0) {
                    value = trimmed(object.substr(value_begin, at - value_begin));
                    value_begin = 0;
                }
                if (object[at] != ',')
                    --level;
                else
                    is_key = level == 1;
                break;
            default:
                break;
        }
    }
    return value;
}

std::string decode_json_string(std::string_view literal) {
    const std::string_view body = literal.substr(1, literal.size() - 2);
    if (body.find('\\') == std::string_view::npos) return to_utf8(body);
    const auto unit = [&](std::size_t at) {  // the \uXXXX at `at`; 0 if there is none
        std::uint32_t value = 0;
        if (at + 6 > body.size() || body[at] != '\\' || body[at + 1] != 'u') return value;
        for (std::size_t k = at + 2; k < at + 6; ++k)
            value = value * 16 + static_cast<std::uint32_t>(Scanner::hex(body[k]));
        return value;
    };
    std::string result;
    for (std::size_t i = 0; i < body.size(); ++i) {
        if (body[i] != '\\') {
            result += body[i];
            continue;
        }
        switch (body[++i]) {
            case 'b':
                result += '\b';
                break;
            case 'f':
                result += '\f';
                break;
            case 'n':
                result += '\n';
                break;
            case 'r':
                result += '\r';
                break;
            case 't':
                result += '\t';
                break;
            case 'u': {
                std::uint32_t code = unit(i - 1);
                i += 4;
                if (code >= 0xD800 && code < 0xDC00) {
                    const std::uint32_t low = unit(i + 1);
                    if (low >= 0xDC00 && low < 0xE000) {
                        code = 0x10000 + ((code - 0xD800) << 10U) + (low - 0xDC00);
                        i += 6;
                    }
                }
                append_utf8(result, code >= 0xD800 && code < 0xE000 ? 0xFFFD : code);
                break;
            }
            default:
                result += body[i];
        }
    }
    return to_utf8(result);
}

}  // namespace jobshim
