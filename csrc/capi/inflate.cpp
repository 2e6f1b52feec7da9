#include "capi/inflate.hpp"

namespace taut::capi {
namespace {

constexpr int kMostBits = 15, kLengths = 286, kDistances = 30;

// Bits of the stream, least significant first. Beyond the end are zeros, and `ended` is set.
struct Bits {
    const uint8_t* data;
    size_t size, at = 0;
    uint32_t hold = 0;
    int count = 0;
    bool ended = false;

    uint32_t take(int n) {  // n <= 16
        while (count < n) {
            if (at == size) {
                ended = true;
                return 0;
            }
            hold |= uint32_t(data[at++]) << count;
            count += 8;
        }
        const uint32_t value = hold & ((1u << n) - 1);
        hold >>= n;
        count -= n;
        return value;
    }
};

// A canonical Huffman code: how many codes have each length, and symbols in the order of their codes.
struct Code {
    uint16_t count[kMostBits + 1];
    uint16_t symbol[kLengths + 2];

    // What is left of the code space: below zero, codes overlap; above, some are missing.
    int set(const uint8_t* lengths, int n) {
        std::memset(count, 0, sizeof count);
        for (int i = 0; i < n; i++) count[lengths[i]]++;
        if (count[0] == n) return 0;  // none at all: decoding one fails
        int left = 1;
        for (int bits = 1; bits <= kMostBits; bits++) {
            left = (left << 1) - count[bits];
            if (left < 0) return left;
        }
        uint16_t at[kMostBits + 2];
        at[1] = 0;
        for (int bits = 1; bits <= kMostBits; bits++) at[bits + 1] = uint16_t(at[bits] + count[bits]);
        for (int i = 0; i < n; i++)
            if (lengths[i]) symbol[at[lengths[i]]++] = uint16_t(i);
        return left;
    }

    int decode(Bits& in) const {  // -1: no code begins so
        int code = 0, first = 0, index = 0;
        for (int bits = 1; bits <= kMostBits; bits++) {
            code |= int(in.take(1));
            if (in.ended) return -1;
            if (code - count[bits] < first) return symbol[index + (code - first)];
            index += count[bits];
            first = (first + count[bits]) << 1;
            code <<= 1;
        }
        return -1;
    }
};

class Inflater {
public:
    Inflater(Text stream, Text dictionary, uint64_t limit, Block& out, Fail& fail)
        : in_{reinterpret_cast<const uint8_t*>(stream.data), stream.size},
          dictionary_(dictionary),
          limit_(limit),
          out_(out),
          fail_(fail) {}

    bool run(Inflated& found) {
        for (bool last = false; !last;) {
            last = in_.take(1);
            switch (in_.take(2)) {
                case 0:
                    if (!stored()) return false;
                    break;
                case 1:
                    if (!fixed()) return false;
                    break;
                case 2:
                    if (!dynamic()) return false;
                    break;
                default: return bad();
            }
            if (in_.ended) return bad();
        }
        found = {at_, in_.at - size_t(in_.count / 8)};
        return true;
    }

private:
    Bits in_;
    Text dictionary_;
    uint64_t limit_;
    Block& out_;
    Fail& fail_;
    size_t at_ = 0;
    Code lengths_, distances_;

    bool bad() { return fail_.format(in_.ended ? "a deflate stream is cut off" : "not a deflate stream"); }

    bool room(size_t n) {
        if (n > limit_ - at_)
            return fail_.format("a stream inflates to more than %llu bytes", (unsigned long long)limit_);
        if (at_ + n <= out_.size()) return true;
        uint64_t wanted = uint64_t(out_.size()) * 2;
        if (wanted < at_ + n) wanted = at_ + n;
        if (wanted < 4096) wanted = 4096;
        if (wanted > limit_) wanted = limit_;
        return out_.grow(size_t(wanted)) || fail_.memory();
    }

    bool stored() {
        in_.at -= size_t(in_.count / 8);
        in_.hold = 0;
        in_.count = 0;
        const uint32_t size = in_.take(16), other = in_.take(16);
        if (in_.ended || size != (~other & 0xffff)) return bad();
        if (size > in_.size - in_.at) {
            in_.ended = true;
            return bad();
        }
        if (!room(size)) return false;
        if (size) std::memcpy(out_.data() + at_, in_.data + in_.at, size);
        in_.at += size;
        at_ += size;
        return true;
    }

    bool fixed() {
        uint8_t lengths[kLengths + 2];
        for (int i = 0; i < kLengths + 2; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
        lengths_.set(lengths, kLengths + 2);
        for (int i = 0; i < kDistances; i++) lengths[i] = 5;
        distances_.set(lengths, kDistances);
        return codes();
    }

    bool dynamic() {
        constexpr uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
        const int of_lengths = int(in_.take(5)) + 257, of_distances = int(in_.take(5)) + 1,
                  of_codes = int(in_.take(4)) + 4;
        if (of_lengths > kLengths || of_distances > kDistances) return bad();
        uint8_t lengths[kLengths + kDistances + 19] = {};
        for (int i = 0; i < of_codes; i++) lengths[order[i]] = uint8_t(in_.take(3));
        if (lengths_.set(lengths, 19) != 0) return bad();
        int i = 0;
        while (i < of_lengths + of_distances) {
            const int symbol = lengths_.decode(in_);
            if (symbol < 0) return bad();
            if (symbol < 16) {
                lengths[i++] = uint8_t(symbol);
                continue;
            }
            if (symbol == 16 && i == 0) return bad();
            const uint8_t again = symbol == 16 ? lengths[i - 1] : 0;
            int times = symbol == 16   ? 3 + int(in_.take(2))
                        : symbol == 17 ? 3 + int(in_.take(3))
                                       : 11 + int(in_.take(7));
            if (i + times > of_lengths + of_distances) return bad();
            while (times--) lengths[i++] = again;
        }
        if (in_.ended || lengths[256] == 0) return bad();
        // Some codes may be missing only where there is a single one, of one bit.
        const int left = lengths_.set(lengths, of_lengths);
        if (left < 0 || (left > 0 && of_lengths != lengths_.count[0] + lengths_.count[1])) return bad();
        const int rest = distances_.set(lengths + of_lengths, of_distances);
        if (rest < 0 || (rest > 0 && of_distances != distances_.count[0] + distances_.count[1])) return bad();
        return codes();
    }

    bool codes() {
        constexpr uint16_t length[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                         31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
        constexpr uint8_t length_bits[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                             2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
        constexpr uint16_t distance[30] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                           33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                           1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
        for (;;) {
            int symbol = lengths_.decode(in_);
            if (symbol == 256) return true;
            if (symbol < 0 || symbol > kLengths - 1) return bad();
            if (symbol < 256) {
                if (!room(1)) return false;
                out_.data()[at_++] = uint8_t(symbol);
                continue;
            }
            symbol -= 257;
            const size_t n = length[symbol] + in_.take(length_bits[symbol]);
            symbol = distances_.decode(in_);
            if (symbol < 0) return bad();
            const size_t back = distance[symbol] + in_.take(symbol < 4 ? 0 : symbol / 2 - 1);
            if (in_.ended || back > at_ + dictionary_.size) return bad();
            if (!room(n)) return false;
            for (size_t i = 0; i < n; i++, at_++)
                out_.data()[at_] =
                    back <= at_ ? out_.data()[at_ - back] : uint8_t(dictionary_.data[dictionary_.size - (back - at_)]);
        }
    }
};

uint32_t adler(const uint8_t* data, size_t size) {
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < size; i++) {
        a = (a + data[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

}  // namespace

bool inflate(Text stream, Text dictionary, uint64_t limit, Block& out, Inflated& found, Fail& fail) {
    return Inflater(stream, dictionary, limit, out, fail).run(found);
}

bool inflate_zlib(Text stream, uint64_t limit, Block& out, Inflated& found, Fail& fail) {
    const auto* p = reinterpret_cast<const uint8_t*>(stream.data);
    if (stream.size < 6 || (p[0] & 15) != 8 || p[0] >> 4 > 7 || (p[0] << 8 | p[1]) % 31 || p[1] & 32)
        return fail.format("not a zlib stream");
    if (!inflate({stream.data + 2, stream.size - 2}, {}, limit, out, found, fail)) return false;
    if (stream.size - 2 - found.used < 4) return fail.format("a zlib stream is cut off");
    const uint8_t* sum = p + 2 + found.used;
    const uint32_t meant = uint32_t(sum[0]) << 24 | uint32_t(sum[1]) << 16 | uint32_t(sum[2]) << 8 | sum[3];
    if (adler(out.data(), found.size) != meant) return fail.format("a zlib stream does not match its checksum");
    found.used += 6;
    return true;
}

}  // namespace taut::capi
