// The strings of JSON, unescaped where they lie, and whether text is UTF-8.
#include "capi/json.hpp"

namespace taut::capi {
namespace {

int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = char(c | 32);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Four hexadecimal digits; -1 if they are none.
int unit(const char* at, const char* end) {
    if (end - at < 4) return -1;
    int value = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = hex(at[i]);
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

void put_utf8(char*& to, uint32_t c) {
    if (c < 0x80) {
        *to++ = char(c);
        return;
    }
    if (c < 0x800) {
        *to++ = char(0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *to++ = char(0xe0 | c >> 12);
        } else {
            *to++ = char(0xf0 | c >> 18);
            *to++ = char(0x80 | (c >> 12 & 63));
        }
        *to++ = char(0x80 | (c >> 6 & 63));
    }
    *to++ = char(0x80 | (c & 63));
}

// What follows a backslash; false: nothing that JSON knows.
bool unescape(char*& at, char* end, char*& to, bool& lone) {
    if (at == end) return false;
    switch (const char c = *at++) {
        case '"':
        case '\\':
        case '/': *to++ = c; return true;
        case 'b': *to++ = '\b'; return true;
        case 'f': *to++ = '\f'; return true;
        case 'n': *to++ = '\n'; return true;
        case 'r': *to++ = '\r'; return true;
        case 't': *to++ = '\t'; return true;
        case 'u': break;
        default: return false;
    }
    const int first = unit(at, end);
    if (first < 0) return false;
    at += 4;
    uint32_t c = uint32_t(first);
    if (c >= 0xd800 && c < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
        const int second = unit(at + 2, end);
        if (second < 0) return false;
        if (second >= 0xdc00 && second < 0xe000) {
            at += 6;
            c = 0x10000 + ((c - 0xd800) << 10) + uint32_t(second - 0xdc00);
        }
    }
    lone |= c >= 0xd800 && c < 0xe000;
    put_utf8(to, c);
    return true;
}

}  // namespace

bool read_string(char*& at, char* end, Text& found, bool& lone) {
    char* const begin = at;
    char* to = at;
    lone = false;
    while (at < end) {
        const char c = *at++;
        if (c == '"') {
            found = {begin, size_t(to - begin)};
            return true;
        }
        if (uint8_t(c) < 0x20) return false;
        if (c != '\\')
            *to++ = c;
        else if (!unescape(at, end, to, lone))
            return false;
    }
    return false;
}

bool is_utf8(const char* data, size_t size) {
    for (size_t i = 0; i < size;) {
        const uint8_t c = uint8_t(data[i]);
        if (c < 0x80) {
            i++;
            continue;
        }
        const size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
        if (c < 0xc2 || c > 0xf4 || size - i < n) return false;
        uint32_t value = c & (0x7f >> n);
        for (size_t k = 1; k < n; k++) {
            const uint8_t d = uint8_t(data[i + k]);
            if ((d & 0xc0) != 0x80) return false;
            value = value << 6 | (d & 63);
        }
        if ((n == 3 && value < 0x800) || (n == 4 && (value < 0x10000 || value > 0x10ffff)) ||
            (value >= 0xd800 && value < 0xe000))
            return false;
        i += n;
    }
    return true;
}

}  // namespace taut::capi
