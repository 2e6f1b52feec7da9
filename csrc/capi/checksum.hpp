// XXH3 of 64 bits, seed 0 (Yann Collet's xxHash 0.8), of bytes that come piece by piece.
#pragma once
#include <cstddef>
#include <cstdint>

namespace taut::capi {

class Checksum {
public:
    Checksum();
    void add(const uint8_t* data, size_t size);
    uint64_t value() const;

private:
    static constexpr size_t kBlock = 1024, kHold = 2 * kBlock;
    uint64_t lanes_[8];
    uint64_t total_ = 0;
    uint8_t held_[kHold];  // what is not in the lanes yet, and before it the last 64 bytes of what is
    size_t begin_ = kBlock, end_ = kBlock;
    void block(const uint8_t* data);
};

uint64_t checksum(const uint8_t* data, size_t size);

// As 16 hexadecimal digits, and back; false if they are no lower-case digits.
void put_digits(uint64_t value, char* digits);
bool take_digits(const char* digits, uint64_t& value);

}  // namespace taut::capi
