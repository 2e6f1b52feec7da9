// Bytes: what is refused of them, base-128 integers, and a reader that refuses to pass the end.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace taut {

// The bytes given are not what an encoder writes. Never leaves the core: the bindings translate it.
struct FormatError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline void require(bool good, const char* what) {
    if (!good) throw FormatError(what);
}

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

class ByteReader {
public:
    ByteReader(const uint8_t* data, size_t size) : p_(data), end_(data + size) {}
    size_t left() const { return size_t(end_ - p_); }
    const uint8_t* take(uint64_t n) {
        if (n > left()) throw FormatError("ends early");
        const uint8_t* at = p_;
        p_ += n;
        return at;
    }
    uint8_t byte() { return *take(1); }
    template <class T>
    T raw() {
        T v;
        std::memcpy(&v, take(sizeof v), sizeof v);
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
        throw FormatError("integer too long");
    }

private:
    const uint8_t *p_, *end_;
};

}  // namespace taut
