#include "capi/memory.hpp"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace taut::capi {
namespace {

// An error may not end within a character: what follows the last whole one goes.
void end_whole(char* text, size_t size) {
    size_t at = size;
    while (at > 0 && (uint8_t(text[at - 1]) & 0xc0) == 0x80) at--;
    if (at == 0) return;
    const uint8_t first = uint8_t(text[at - 1]);
    const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
    if (at - 1 + length > size) text[at - 1] = 0;
}

}  // namespace

int compare(Text a, Text b) {
    const size_t n = a.size < b.size ? a.size : b.size;
    const int by = n ? std::memcmp(a.data, b.data, n) : 0;
    return by ? by : a.size < b.size ? -1 : a.size > b.size;
}

bool any_twice(Text* texts, size_t n) {
    std::sort(texts, texts + n, [](Text a, Text b) { return compare(a, b) < 0; });
    return std::adjacent_find(texts, texts + n, [](Text a, Text b) { return a == b; }) != texts + n;
}

bool Fail::put(taut_status what, const char* format, va_list values) {
    status = what;
    const int n = std::vsnprintf(text, sizeof text, format, values);
    if (n >= int(sizeof text)) end_whole(text, sizeof text - 1);
    return false;
}

bool Fail::set(taut_status what, const char* format, ...) {
    va_list values;
    va_start(values, format);
    put(what, format, values);
    va_end(values);
    return false;
}

bool Fail::format(const char* format, ...) {
    va_list values;
    va_start(values, format);
    put(TAUT_ERROR_FORMAT, format, values);
    va_end(values);
    return false;
}

bool Fail::within(const char* what, Text name) {
    char said[sizeof text];
    std::memcpy(said, text, sizeof said);
    return set(status, "%s \"%.*s\": %s", what, shown(name), name.data, said);
}

bool Fail::within(const char* what) {
    char said[sizeof text];
    std::memcpy(said, text, sizeof said);
    return set(status, "%s: %s", what, said);
}

bool Block::resize(size_t size) {
    clear();
    if (size == 0) return true;
    data_ = static_cast<uint8_t*>(memory_.take(size));
    size_ = data_ ? size : 0;
    return data_ != nullptr;
}

bool Block::grow(size_t size) {
    if (size <= size_) return true;
    auto* bigger = static_cast<uint8_t*>(memory_.take(size));
    if (!bigger) return false;
    if (size_) std::memcpy(bigger, data_, size_);
    clear();
    data_ = bigger;
    size_ = size;
    return true;
}

void Block::clear() {
    if (data_) memory_.give(data_, size_);
    data_ = nullptr;
    size_ = 0;
}

void* Arena::take(size_t size, size_t alignment) {
    const auto aligned = [&](char* p) { return (alignment - uintptr_t(p) % alignment) % alignment; };
    if (!at_ || aligned(at_) + size > size_t(end_ - at_)) {
        if (size > SIZE_MAX / 2) return nullptr;
        const size_t least = sizeof(Piece) + alignment + size, whole = least > next_ ? least : next_;
        auto* piece = static_cast<Piece*>(memory_.take(whole));
        if (!piece) return nullptr;
        *piece = {last_, whole};
        last_ = piece;
        at_ = reinterpret_cast<char*>(piece + 1);
        end_ = reinterpret_cast<char*>(piece) + whole;
        if (next_ < size_t(1) << 18) next_ *= 2;
    }
    at_ += aligned(at_);
    void* found = at_;
    at_ += size;
    return found;
}

void Arena::clear() {
    while (last_) {
        Piece* piece = last_;
        last_ = piece->before;
        memory_.give(piece, piece->size);
    }
    at_ = end_ = nullptr;
    next_ = 2048;
}

bool Arena::copy(Text from, Text& to) {
    char* made = make<char>(from.size + 1);
    if (!made) return false;
    if (from.size) std::memcpy(made, from.data, from.size);
    to = {made, from.size};
    return true;
}

}  // namespace taut::capi
