// JSON that nobody vouches for: RFC 8259, UTF-8, unique keys, at most 64 levels deep.
#pragma once
#include "capi/memory.hpp"

namespace taut::capi {

enum class JsonKind : uint8_t { null, boolean, number, string, list, object };

// A value; of an object, keys and values follow one another from `first` on.
struct Json {
    JsonKind kind;
    bool flag;       // a boolean's value; a string that is not Unicode text (a lone surrogate)
    uint32_t count;  // bytes of a string or number; items of a list, pairs of an object
    const char* data;
    Json* first;
    Json* next;

    Text text() const { return {data, count}; }
    bool is(JsonKind k) const { return kind == k; }
    const Json* find(const char* key) const;  // of an object; null: it has no such key
};

constexpr int kDeepest = 64;

// Reads `text`, whose strings are unescaped where they lie: it must stay as long as what is given.
const Json* read_json(char* text, size_t size, Arena& arena, Fail& fail);

// The string that begins at `at` (behind its quotation mark), unescaped in place; `at` moves behind it. `lone`: it has a
// surrogate that stands alone. False: it is none.
bool read_string(char*& at, char* end, Text& found, bool& lone);

// Whether this is UTF-8, without surrogates.
bool is_utf8(const char* data, size_t size);

// What is at a key, or why not. `where` names the object.
const Json* need(const Json& object, const char* key, JsonKind kind, const char* where, Fail& fail);
bool get_text(const Json& value, const char* key, const char* where, Text& found, Fail& fail);
bool get_checksum(const Json& value, const char* key, const char* where, uint64_t& found, Fail& fail);
bool get_integer(const Json& value, const char* key, const char* where, uint64_t& found, Fail& fail);  // to 2^48
bool get_number(const Json& value, const char* key, const char* where, double& found, Fail& fail);     // not negative
// Of a number without fraction or exponent, within +-2^62; false: it is none.
bool as_signed(const Json& value, int64_t& found);
bool is_whole(const Json& value);  // a number without fraction or exponent

// Refuses other keys than these, and objects without one of the needed.
bool check_keys(const Json& object, const char* const* needed, const char* const* optional, const char* where,
                Fail& fail);

}  // namespace taut::capi
