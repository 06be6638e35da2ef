// Finds the members of a JSON object in its text, so that one of them can be replaced and every
// other byte stays what it was. Pure.
//
// Accepts exactly what JavaScript's JSON.parse accepts of a file read as UTF-8: lone surrogates,
// numbers of any length, repeated keys and stray bytes inside strings are legal; comments, trailing
// commas, a byte order mark and control characters inside strings are not.
//
// Caveats: the views and offsets point into the text that was scanned; the caller keeps it alive.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace jobshim {

constexpr std::size_t max_json_levels = 512;

struct JsonMember {
    std::string key;          // decoded
    std::size_t key_begin;    // the opening quote
    std::size_t value_begin;  // first byte of the value
    std::size_t value_end;    // one past its last byte
};

enum class JsonFault {
    none,
    malformed,   // no JSON text
    not_object,  // JSON, but no object
    too_deep,    // more than max_json_levels
};

struct JsonScan {
    JsonFault fault = JsonFault::none;
    std::size_t fault_at = 0;  // the byte where `fault` was found
    std::vector<JsonMember> members;
    std::size_t open = 0;  // offset of the object's {
    // Offset of the object's }. It is set, too, if only what follows the object is at fault.
    std::size_t close = 0;
};

JsonScan scan_json_object(std::string_view text);

// The elements of a JSON array, as offsets into its text, brackets included. The text must be a
// well-formed array.
struct JsonSpan {
    std::size_t begin;
    std::size_t end;
};
std::vector<JsonSpan> split_json_array(std::string_view array);

// The value of a member of a JSON object, "" if there is none; of repeated keys the last. `key` is
// compared with what is written, so one that is written with escapes is not found. The text must be
// a well-formed object: this is for the inside of a text that was scanned, and cheaper.
std::string_view find_json_member(std::string_view object, std::string_view key);

// The value of a JSON string literal, quotes included, as UTF-8; what has no UTF-8 form (a lone
// surrogate, a stray byte) becomes U+FFFD. The literal must be a well-formed one.
std::string decode_json_string(std::string_view literal);

}  // namespace jobshim
