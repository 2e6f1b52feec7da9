// Tables of a matrix's contexts, read. A small matrix cannot pay for frequencies one by one: where they fall away from zero
// alike on both sides, their slopes are written instead, once, in parts of an octave.
#include <algorithm>
#include <bit>

#include "matrix/tables.hpp"

namespace taut {
namespace {

constexpr int kSteepest = 1024, kSteepestUp = 128;  // sixteenths of an octave
constexpr uint32_t kMantissa[16] = {0x800000, 0x85aac3, 0x8b95c2, 0x91c3d3, 0x9837f0, 0x9ef532, 0xa5fed7, 0xad583f,
                                    0xb504f3, 0xbd08a4, 0xc5672a, 0xce248c, 0xd744fd, 0xe0ccdf, 0xeac0c7, 0xf5257d};

int unzigzag(uint32_t z) { return int(z >> 1 ^ (~(z & 1) + 1)); }

// 2^(23 - fall / 16), rounded down.
uint64_t weight(int fall) {
    const int octave = -fall >> 4;
    const uint64_t m = kMantissa[-fall & 15];
    return octave >= 0 ? m << octave : octave > -64 ? m >> -octave : 0;
}

bool get_rice(BitReader& in, int k, uint32_t& z) {
    const uint32_t ones = in.ones(kMostTableOnes);
    z = ones << k | uint32_t(in.get(k));
    return ones <= kMostTableOnes;
}

bool read_slopes(BitReader& in, int most, int unit, Table& t, CoderTraits coder) {
    Slopes s;
    s.unit = unit;
    if (in.get(1)) s.escape = int(in.get(6));
    const int k = int(in.get(2));
    int fall = 0, slope = 0;
    for (int i = 0; i < most; i++) {
        uint32_t z;
        if (!get_rice(in, k, z)) return false;
        slope += unzigzag(z);
        fall += slope;
        if (std::abs(fall) > kSteepest) return false;
        s.fall.push_back(fall);
    }
    return in.ok() && set_frequencies(s, t, coder);
}

bool read_frequencies(BitReader& in, int first, int count, Table& t, CoderTraits coder) {
    const int k = int(in.get(4)), whole = 1 << coder.prob_bits;
    if (k > 12) return false;
    t.first = uint8_t(first);
    t.bucket_bits = buckets_for(count, coder);
    int before = 0, sum = 0;
    for (int i = 0; i <= count; i++) {
        uint32_t z;
        if (!get_rice(in, k, z)) return false;
        const int value = before + unzigzag(z);
        if (value < 0 || value >= whole) return false;
        if (i > 0) before = value;
        t.frequency[size_t(i)] = uint16_t(value);
        sum += value;
    }
    return in.ok() && sum == whole;
}

bool read_context(BitReader& in, Table* tables, size_t quantisers, CoderTraits coder) {
    const int widest = (1 << coder.max_bucket_bits) - 1;
    if (in.get(1)) {
        const int most = int(in.get(6)), unit = int(in.get(2));
        if (most < 1 || 2 * most + 1 > widest) return false;
        for (size_t i = 0; i < quantisers; i++)
            if (!read_slopes(in, most, unit, tables[i], coder)) return false;
        return true;
    }
    const int first = int(in.get(8)), count = int(in.get(8));
    if (count < 1 || count > widest || first + count > 256) return false;
    for (size_t i = 0; i < quantisers; i++)
        if (!read_frequencies(in, first, count, tables[i], coder)) return false;
    return true;
}

}  // namespace

int buckets_for(int count, CoderTraits coder) {
    int bits = coder.min_bucket_bits;
    while ((1 << bits) - 1 < count) bits++;
    return bits;
}

bool set_frequencies(const Slopes& s, Table& t, CoderTraits coder) {
    const int whole = 1 << coder.prob_bits, most = int(s.fall.size());
    t.first = uint8_t(128 - most);
    t.bucket_bits = buckets_for(2 * most + 1, coder);
    uint64_t sum = weight(0) + (s.escape >= 0 ? weight(4 * s.escape) : 0);
    for (size_t k = 0; k < s.fall.size(); k++) {
        if (s.sixteenths(k) > kSteepest || s.sixteenths(k) < -kSteepestUp) return false;
        sum += 2 * weight(s.sixteenths(k));
    }
    const auto share = [&](int fall) {
        return std::max(1, int((2 * weight(fall) * uint64_t(whole) + sum) / (2 * sum)));
    };
    int left = whole;
    if (s.escape >= 0) left -= t.frequency[0] = uint16_t(share(4 * s.escape));
    for (int k = 1; k <= most; k++) {
        const uint16_t f = uint16_t(share(s.sixteenths(size_t(k - 1))));
        t.frequency[size_t(1 + most + k)] = t.frequency[size_t(1 + most - k)] = f;
        left -= 2 * f;
    }
    t.frequency[size_t(1 + most)] = uint16_t(std::max(0, left));
    return left > 0 && left < whole;
}

Status read_contexts(BitReader& in, Vec<Table>& tables, size_t contexts, size_t quantisers, CoderTraits coder) {
    TAUT_HAVE(tables.try_assign(contexts * quantisers, Table{}));
    for (size_t c = 0; c < contexts; c++)
        TAUT_REQUIRE(read_context(in, tables.data() + c * quantisers, quantisers, coder), "array header: broken table");
    finish_tables(tables, coder);
    return {};
}

void finish_tables(Vec<Table>& tables, CoderTraits coder) {
    int bits = coder.min_bucket_bits;
    for (const Table& t : tables) bits = std::max(bits, t.bucket_bits);
    for (Table& t : tables) {
        t.bucket_bits = bits;
        build_alias(t, coder.prob_bits);
    }
}

}  // namespace taut
