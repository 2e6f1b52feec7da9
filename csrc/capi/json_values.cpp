// Typed access to JSON: a surprise is a failure that says where.
#include <cmath>

#include "capi/checksum.hpp"
#include "capi/json.hpp"

namespace taut::capi {
namespace {

constexpr uint64_t kMostInteger = uint64_t(1) << 48;  // no file's sizes and counts are above

// A decimal number; near enough to the nearest double, which is all that an error's size is asked for.
double decimal(Text t) {
    size_t i = t.size && t.data[0] == '-';
    double value = 0;
    int tens = 0;
    bool fraction = false;
    for (; i < t.size && (t.data[i] | 32) != 'e'; i++) {
        if (t.data[i] == '.') {
            fraction = true;
            continue;
        }
        if (value < 1e17) {
            value = value * 10 + (t.data[i] - '0');
            tens -= fraction;
        } else {
            tens += !fraction;
        }
    }
    if (i < t.size) {
        const bool minus = t.data[++i] == '-';
        if (minus || t.data[i] == '+') i++;
        int exponent = 0;
        for (; i < t.size; i++) exponent = exponent > 100000 ? exponent : exponent * 10 + (t.data[i] - '0');
        tens += minus ? -exponent : exponent;
    }
    if (value == 0) return 0;
    if (tens < -300) return value * std::pow(10.0, -300) * std::pow(10.0, tens + 300);
    return value * std::pow(10.0, tens);
}

}  // namespace

const Json* need(const Json& object, const char* key, JsonKind kind, const char* where, Fail& fail) {
    const Json* found = object.find(key);
    if (found && found->is(kind)) return found;
    fail.format("%s: \"%s\" is not a%s", where, key,
                kind == JsonKind::list     ? " list"
                : kind == JsonKind::object ? "n object"
                                           : " value");
    return nullptr;
}

bool get_text(const Json& value, const char* key, const char* where, Text& found, Fail& fail) {
    if (!value.is(JsonKind::string)) return fail.format("%s: \"%s\" is not a string", where, key);
    if (value.flag) return fail.format("%s: \"%s\" is not Unicode text", where, key);
    found = value.text();
    return true;
}

bool get_checksum(const Json& value, const char* key, const char* where, uint64_t& found, Fail& fail) {
    if (value.is(JsonKind::string) && value.count == 16 && take_digits(value.data, found)) return true;
    return fail.format("%s: \"%s\" is not 16 hexadecimal digits", where, key);
}

bool is_whole(const Json& value) {
    if (!value.is(JsonKind::number)) return false;
    for (uint32_t i = 0; i < value.count; i++)
        if (value.data[i] == '.' || (value.data[i] | 32) == 'e') return false;
    return true;
}

bool as_signed(const Json& value, int64_t& found) {
    if (!is_whole(value)) return false;
    const bool minus = value.data[0] == '-';
    found = 0;
    for (uint32_t i = minus; i < value.count; i++) {
        if (found > (int64_t(1) << 58)) return false;
        found = found * 10 + (value.data[i] - '0');
    }
    if (minus) found = -found;
    return true;
}

bool get_integer(const Json& value, const char* key, const char* where, uint64_t& found, Fail& fail) {
    int64_t n;
    if (!as_signed(value, n) || n < 0 || uint64_t(n) > kMostInteger)
        return fail.format("%s: \"%s\" is not an integer from 0 to 2^48", where, key);
    found = uint64_t(n);
    return true;
}

bool get_number(const Json& value, const char* key, const char* where, double& found, Fail& fail) {
    if (!value.is(JsonKind::number)) return fail.format("%s: \"%s\" is not a number", where, key);
    found = decimal(value.text());
    if (!std::isfinite(found) || (value.data[0] == '-' && found > 0))
        return fail.format("%s: \"%s\" is not a finite number of at least 0", where, key);
    return true;
}

bool check_keys(const Json& object, const char* const* needed, const char* const* optional, const char* where,
                Fail& fail) {
    for (const char* const* key = needed; *key; key++)
        if (!object.find(*key)) return fail.format("%s: no \"%s\"", where, *key);
    for (const Json* k = object.first; k; k = k->next->next) {
        bool known = false;
        for (const char* const* key = needed; *key; key++) known |= k->text() == *key;
        for (const char* const* key = optional; *key; key++) known |= k->text() == *key;
        if (!known) return fail.format("%s: unknown key \"%.*s\"", where, shown(k->text()), k->data);
    }
    return true;
}

}  // namespace taut::capi
