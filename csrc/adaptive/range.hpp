// Binary arithmetic coding with a 32-bit range (Martin 1979; the byte-wise carry is Schindler's).
#pragma once
#include "base/bytes.hpp"

namespace taut {

constexpr uint32_t kRangeLow = 1u << 24;   // below this a byte moves
constexpr size_t kMissingBytes = 4;        // zeros at a stream's end that need not be stored

// One bit whose probability of being 1 is p / 2^16, p in 1 .. 65535.
class RangeEncoder {
public:
    bool bit(uint32_t p, bool y) {
        const uint32_t bound = (range_ >> 16) * p;
        if (y) range_ = bound;
        else low_ += bound, range_ -= bound;
        while (range_ < kRangeLow) range_ <<= 8, shift();
        return y;
    }
    // The number in the final interval that ends in the most zeros, less those zeros.
    std::vector<uint8_t> finish() {
        for (int zeros = 32; zeros >= 0; zeros--) {
            const uint64_t mask = (uint64_t(1) << zeros) - 1, number = (low_ + mask) & ~mask;
            if (number - low_ >= range_) continue;
            low_ = number;
            break;
        }
        for (int i = 0; i < 5; i++) shift();
        bytes_.erase(bytes_.begin());  // always zero: nothing carries out of the first interval
        for (size_t i = 0; i < kMissingBytes && !bytes_.empty() && bytes_.back() == 0; i++) bytes_.pop_back();
        return std::move(bytes_);
    }

private:
    std::vector<uint8_t> bytes_;
    uint64_t low_ = 0;       // 33 bits: the top one is a carry
    uint32_t range_ = ~0u;
    uint64_t held_ = 1;      // bytes not written yet: `first_` and then 0xff each, which a carry would change
    uint8_t first_ = 0;

    void shift() {
        if (low_ < 0xff000000u || low_ >> 32) {
            const uint8_t carry = uint8_t(low_ >> 32);
            for (; held_; held_--) {
                bytes_.push_back(uint8_t(first_ + carry));
                first_ = 0xff;
            }
            first_ = uint8_t(low_ >> 24);
        }
        held_++;
        low_ = (low_ & 0x00ffffff) << 8;
    }
};

// Bytes beyond the end are zeros; finish() says whether there were too many of them.
class RangeDecoder {
public:
    explicit RangeDecoder(ConstBytes bytes) : at_(bytes.data), end_(bytes.data + bytes.size) {
        for (int i = 0; i < 4; i++) code_ = code_ << 8 | next();
    }
    bool bit(uint32_t p, bool = false) {
        const uint32_t bound = (range_ >> 16) * p;
        const bool y = code_ < bound;
        if (y) range_ = bound;
        else code_ -= bound, range_ -= bound;
        while (range_ < kRangeLow) range_ <<= 8, code_ = code_ << 8 | next();
        return y;
    }
    bool exhausted() const { return missing_ > kMissingBytes; }
    // Refuses all but the bytes that RangeEncoder::finish leaves.
    Status finish() const {
        TAUT_REQUIRE(!exhausted(), "symbols end early");
        TAUT_REQUIRE(at_ == end_, "bytes are left over");
        TAUT_REQUIRE(missing_ >= kMissingBytes || (recent_ >> (8 * missing_) & 255) != 0, "a zero too many");
        const uint64_t unit = uint64_t(1) << (recent_ ? std::countr_zero(recent_) : 32);
        TAUT_REQUIRE(code_ < unit && code_ + unit >= range_, "the final number is not the shortest");
        return {};
    }

private:
    const uint8_t *at_, *end_;
    uint32_t code_ = 0, range_ = ~0u;
    uint32_t recent_ = 0;  // the last four bytes
    size_t missing_ = 0;

    uint32_t next() {
        uint32_t byte = 0;
        if (at_ != end_) byte = *at_++;
        else missing_++;
        recent_ = recent_ << 8 | byte;
        return byte;
    }
};

}  // namespace taut
