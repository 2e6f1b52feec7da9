#include "capi/checksum.hpp"

#include "base/bits.hpp"

namespace taut::capi {
namespace {

constexpr uint64_t kPrime32_1 = 0x9e3779b1, kPrime32_2 = 0x85ebca77, kPrime32_3 = 0xc2b2ae3d;
constexpr uint64_t kPrime64_1 = 0x9e3779b185ebca87, kPrime64_2 = 0xc2b2ae3d27d4eb4f, kPrime64_3 = 0x165667b19e3779f9,
                   kPrime64_4 = 0x85ebca77c2b2ae63, kPrime64_5 = 0x27d4eb2f165667c5;
constexpr uint64_t kMix1 = 0x165667919e3779f9, kMix2 = 0x9fb21c651e98df25;

constexpr uint8_t kSecret[192] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};
constexpr size_t kStripe = 64, kStripes = 16;  // of a block; each stripe takes the secret 8 bytes further on

uint32_t load32(const uint8_t* p) {
    uint32_t v;
    std::memcpy(&v, p, 4);
    return v;
}
uint64_t secret(size_t at) { return load64(kSecret + at); }
uint64_t rotate(uint64_t v, int by) { return v << by | v >> (64 - by); }
uint64_t swapped(uint64_t v) {
    v = (v & 0x00ff00ff00ff00ff) << 8 | (v >> 8 & 0x00ff00ff00ff00ff);
    v = (v & 0x0000ffff0000ffff) << 16 | (v >> 16 & 0x0000ffff0000ffff);
    return v << 32 | v >> 32;
}

// Both halves of a product of 128 bits, one over the other.
uint64_t folded(uint64_t a, uint64_t b) {
#if defined(__SIZEOF_INT128__)
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(a) * b;
    return uint64_t(product) ^ uint64_t(product >> 64);
#else
    const uint64_t a0 = uint32_t(a), a1 = a >> 32, b0 = uint32_t(b), b1 = b >> 32;
    const uint64_t low = a0 * b0, middle = a1 * b0 + (low >> 32), other = a0 * b1 + uint32_t(middle);
    return (other << 32 | uint32_t(low)) ^ (a1 * b1 + (middle >> 32) + (other >> 32));
#endif
}

uint64_t avalanche(uint64_t h) {
    h ^= h >> 37;
    h *= kMix1;
    return h ^ h >> 32;
}
uint64_t avalanche64(uint64_t h) {
    h ^= h >> 33;
    h *= kPrime64_2;
    h ^= h >> 29;
    h *= kPrime64_3;
    return h ^ h >> 32;
}

uint64_t mix16(const uint8_t* p, size_t at) {
    return folded(load64(p) ^ secret(at), load64(p + 8) ^ secret(at + 8));
}

uint64_t up_to_16(const uint8_t* p, size_t n) {
    if (n > 8) {
        const uint64_t low = load64(p) ^ (secret(24) ^ secret(32)), high = load64(p + n - 8) ^ (secret(40) ^ secret(48));
        return avalanche(n + swapped(low) + high + folded(low, high));
    }
    if (n >= 4) {
        const uint64_t both = load32(p + n - 4) + (uint64_t(load32(p)) << 32);
        uint64_t h = both ^ (secret(8) ^ secret(16));
        h ^= rotate(h, 49) ^ rotate(h, 24);
        h *= kMix2;
        h ^= (h >> 35) + n;
        h *= kMix2;
        return h ^ h >> 28;
    }
    if (n == 0) return avalanche64(secret(56) ^ secret(64));
    const uint32_t both = uint32_t(p[0]) << 16 | uint32_t(p[n >> 1]) << 24 | p[n - 1] | uint32_t(n) << 8;
    return avalanche64(both ^ uint64_t(load32(kSecret) ^ load32(kSecret + 4)));
}

uint64_t up_to_240(const uint8_t* p, size_t n) {
    uint64_t h = n * kPrime64_1;
    if (n <= 128) {
        for (size_t i = (n - 1) / 32 + 1; i-- > 0;)
            h += mix16(p + 16 * i, 32 * i) + mix16(p + n - 16 * (i + 1), 32 * i + 16);
        return avalanche(h);
    }
    for (size_t i = 0; i < 8; i++) h += mix16(p + 16 * i, 16 * i);
    h = avalanche(h);
    for (size_t i = 8; i < n / 16; i++) h += mix16(p + 16 * i, 16 * (i - 8) + 3);
    return avalanche(h + mix16(p + n - 16, 136 - 17));
}

void stripe(uint64_t* lanes, const uint8_t* p, size_t at) {
    for (size_t i = 0; i < 8; i++) {
        const uint64_t value = load64(p + 8 * i), key = value ^ secret(at + 8 * i);
        lanes[i ^ 1] += value;
        lanes[i] += uint64_t(uint32_t(key)) * (key >> 32);
    }
}

}  // namespace

Checksum::Checksum()
    : lanes_{kPrime32_3, kPrime64_1, kPrime64_2, kPrime64_3, kPrime64_4, kPrime32_2, kPrime64_5, kPrime32_1} {}

void Checksum::block(const uint8_t* data) {
    for (size_t i = 0; i < kStripes; i++) stripe(lanes_, data + kStripe * i, 8 * i);
    for (size_t i = 0; i < 8; i++) {
        lanes_[i] ^= lanes_[i] >> 47;
        lanes_[i] = (lanes_[i] ^ secret(sizeof kSecret - 64 + 8 * i)) * kPrime32_1;
    }
}

// A block goes into the lanes once a byte behind it is known: the last one is done in another way.
void Checksum::add(const uint8_t* data, size_t size) {
    total_ += size;
    while (size > 0) {
        if (begin_ == end_ && size > kBlock) {
            const size_t blocks = (size - 1) / kBlock;
            for (size_t i = 0; i < blocks; i++) block(data + i * kBlock);
            data += blocks * kBlock;
            size -= blocks * kBlock;
            std::memcpy(held_ + kBlock - kStripe, data - kStripe, kStripe);
        }
        if (end_ - begin_ == kBlock) {
            block(held_ + begin_);
            std::memcpy(held_ + kBlock - kStripe, held_ + end_ - kStripe, kStripe);
            begin_ = end_ = kBlock;
            continue;
        }
        const size_t room = kBlock - (end_ - begin_), n = size < room ? size : room;
        std::memcpy(held_ + end_, data, n);
        end_ += n;
        data += n;
        size -= n;
    }
}

uint64_t Checksum::value() const {
    const uint8_t* p = held_ + begin_;
    const size_t left = end_ - begin_;
    if (total_ <= 16) return up_to_16(p, size_t(total_));
    if (total_ <= 240) return up_to_240(p, size_t(total_));
    uint64_t lanes[8];
    std::memcpy(lanes, lanes_, sizeof lanes);
    const size_t whole = (left - 1) / kStripe;
    for (size_t i = 0; i < whole; i++) stripe(lanes, p + kStripe * i, 8 * i);
    stripe(lanes, held_ + end_ - kStripe, sizeof kSecret - kStripe - 7);  // the last 64 bytes, whatever held them
    uint64_t h = total_ * kPrime64_1;
    for (size_t i = 0; i < 4; i++)
        h += folded(lanes[2 * i] ^ secret(11 + 16 * i), lanes[2 * i + 1] ^ secret(11 + 16 * i + 8));
    return avalanche(h);
}

uint64_t checksum(const uint8_t* data, size_t size) {
    Checksum sum;
    sum.add(data, size);
    return sum.value();
}

void put_digits(uint64_t value, char* digits) {
    for (int i = 0; i < 16; i++) digits[i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
}

bool take_digits(const char* digits, uint64_t& value) {
    value = 0;
    for (int i = 0; i < 16; i++) {
        const char c = digits[i];
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return false;
        value = value << 4 | uint64_t(digit);
    }
    return true;
}

}  // namespace taut::capi
