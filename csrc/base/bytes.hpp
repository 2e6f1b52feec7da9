// Bytes: base-128 integers, and a reader that does not pass the end.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/status.hpp"

namespace taut {

struct ConstBytes {
    const uint8_t* data;
    size_t size;
};

inline void put_varint(std::vector<uint8_t>& out, uint64_t v) {
    for (; v >= 0x80; v >>= 7) out.push_back(uint8_t(v) | 0x80);
    out.push_back(uint8_t(v));
}

template <class T>
void put_raw(std::vector<uint8_t>& out, const T& v) {
    const auto* p = reinterpret_cast<const uint8_t*>(&v);
    out.insert(out.end(), p, p + sizeof v);
}

// Reading past the end gives zeros, or no bytes, and is remembered: callers ask status() before they go by what they read.
class ByteReader {
public:
    ByteReader(const uint8_t* data, size_t size) : p_(data), end_(data + size) {}
    size_t left() const { return size_t(end_ - p_); }
    Status status() const { return Status(wrong_); }
    const uint8_t* take(uint64_t n) {  // null: there are fewer
        if (n > left()) {
            if (!wrong_) wrong_ = "ends early";
            p_ = end_;
            return nullptr;
        }
        const uint8_t* at = p_;
        p_ += n;
        return at;
    }
    uint8_t byte() {
        const uint8_t* at = take(1);
        return at ? *at : uint8_t(0);
    }
    template <class T>
    T raw() {
        T v{};
        if (const uint8_t* at = take(sizeof v)) std::memcpy(&v, at, sizeof v);
        return v;
    }
    uint64_t varint() {
        uint64_t v = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            const uint8_t b = byte();
            if (shift == 63 && b > 1) break;
            v |= uint64_t(b & 0x7f) << shift;
            if (b < 0x80) return v;
        }
        if (!wrong_) wrong_ = "integer too long";
        return 0;
    }

private:
    const uint8_t *p_, *end_;
    const char* wrong_ = nullptr;
};

}  // namespace taut
