// Finds the members of a JSON object in its text, so that one can be replaced and every other byte
// is unchanged. Pure.
//
// Accepts exactly what JavaScript's JSON.parse accepts in a file read as UTF-8: lone surrogates,
// numbers of any length, repeated keys and stray bytes inside strings are legal; comments, trailing
// commas, a byte order mark and control characters inside strings are not.
//
// Caveats: the views and offsets point into the scanned text, which the caller must keep alive.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace jobshim {

constexpr std::size_t max_json_levels = 512;
// Of the object itself; the objects inside it may have any number.
constexpr std::size_t max_json_members = 10'000;

struct JsonMember {
    std::string key;          // decoded
    std::size_t key_begin;    // the opening quote
    std::size_t value_begin;  // first byte of the value
    std::size_t value_end;    // one past its last byte
};

enum class JsonFault {
    none,
    malformed,   // not JSON
    not_object,  // JSON, but not an object
    too_deep,    // more than max_json_levels levels
    too_many_members,
};

struct JsonScan {
    // Well-formed as far as it was read, but more than we take.
    bool is_beyond_bounds() const {
        return fault == JsonFault::too_deep || fault == JsonFault::too_many_members;
    }
    // "not a JSON object (byte 7)"; "" without a fault.
    std::string describe_fault() const;

    // Well-formed, but not for every parser: nested more than 250 levels deep (jq takes 256), or
    // with a number of more than 1,000 characters (Python takes 4,300).
    bool is_for_some_parsers = false;
    // Half a pair of surrogates is escaped somewhere: JavaScript cuts strings anywhere, jq takes
    // none.
    bool has_lone_surrogate = false;
    JsonFault fault = JsonFault::none;
    std::size_t fault_at = 0;  // the byte at which `fault` was found
    std::vector<JsonMember> members;
    std::size_t open = 0;  // offset of the object's {
    // Offset of the object's }. Also set if the only fault is in what follows the object.
    std::size_t close = 0;
};

JsonScan scan_json_object(std::string_view text);

// Editors put one in front of UTF-8, and it is no part of the JSON text.
std::string_view without_byte_order_mark(std::string_view text);

// The elements of a JSON array, as offsets into its text, which includes the brackets. The text
// must be a well-formed array.
struct JsonSpan {
    std::size_t begin;
    std::size_t end;
};
std::vector<JsonSpan> split_json_array(std::string_view array);

// What a well-formed JSON text would cost whoever parses it.
struct JsonSize {
    std::size_t values = 0;        // an upper bound: all of them, containers included
    std::size_t most_members = 0;  // of the largest object, repeated keys included
};
JsonSize json_size(std::string_view text);

// The value of a member of a JSON object, or "" if there is none; if the key is repeated, the last
// one counts. `key` is compared with the raw text, so a key written with escapes is not found. The
// text must be a well-formed object: this is a cheaper search for objects inside a scanned text.
std::string_view find_json_member(std::string_view object, std::string_view key);

// With U+FFFD in place of each escaped half of a pair of surrogates. The text must be well-formed.
std::string without_lone_surrogates(std::string json);

// The value of a JSON string literal, which includes the quotes, as UTF-8; what has no UTF-8 form
// (a lone surrogate, a stray byte) becomes U+FFFD. The literal must be well-formed.
std::string decode_json_string(std::string_view literal);

}  // namespace jobshim
