// Bit streams, least significant bit first: the tables' Rice codes and the raw low bits of values.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace taut {

// All integers of the format are copied from and to memory as they are.
static_assert(std::endian::native == std::endian::little, "Taut's core needs a little-endian machine");

inline uint64_t load64(const uint8_t* p) {
    uint64_t v;
    std::memcpy(&v, p, 8);
    return v;
}

// Small magnitudes of either sign as small numbers: 0, -1, 1, -2 as 0, 1, 2, 3.
inline uint32_t zigzag(int v) { return uint32_t(v) << 1 ^ uint32_t(v >> 31); }

class BitWriter {
public:
    void put(uint64_t value, int bits) {  // bits <= 57
        hold_ |= value << fill_;
        fill_ += bits;
        while (fill_ >= 8) {
            bytes_.push_back(uint8_t(hold_));
            hold_ >>= 8;
            fill_ -= 8;
        }
    }
    std::vector<uint8_t> finish() {
        if (fill_ > 0) bytes_.push_back(uint8_t(hold_));
        hold_ = 0;
        fill_ = 0;
        return std::move(bytes_);
    }

private:
    std::vector<uint8_t> bytes_;
    uint64_t hold_ = 0;
    int fill_ = 0;
};

// Reading past the end gives zeros and is remembered: callers ask ok() once.
class BitReader {
public:
    BitReader(const uint8_t* data, size_t size) : data_(data), bits_(uint64_t(size) * 8) {}
    uint64_t get(int bits) {  // bits <= 32
        uint64_t window = 0;
        const uint64_t byte = at_ >> 3, size = bits_ >> 3;
        if (byte + 8 <= size) {
            window = load64(data_ + byte);
        } else {
            for (uint64_t i = byte; i < size; i++) window |= uint64_t(data_[i]) << (8 * (i - byte));
        }
        const uint64_t value = window >> (at_ & 7) & ((uint64_t(1) << bits) - 1);
        at_ += uint64_t(bits);
        return value;
    }
    // Ones before the next zero, at most `most` of them plus one; the zero is read too.
    uint32_t ones(uint32_t most) {
        uint32_t n = 0;
        for (;;) {
            const uint32_t run = uint32_t(std::countr_one(uint32_t(get(16))));
            if (run == 16 && n + 16 <= most) {
                n += 16;
                continue;
            }
            at_ -= run == 16 ? 0 : 15 - run;
            return n + run;
        }
    }
    bool ok() const { return at_ <= bits_; }
    // True when what is left is less than a byte of zeros: nothing hides behind the last code.
    bool at_end() {
        if (at_ > bits_ || bits_ - at_ >= 8) return false;
        while (at_ < bits_)
            if (get(1)) return false;
        return true;
    }

private:
    const uint8_t* data_;
    uint64_t bits_;
    uint64_t at_ = 0;
};

}  // namespace taut
