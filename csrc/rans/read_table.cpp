// Bits to tables.
#include "rans/tables.hpp"

namespace taut {

int bucket_bits_for(int last, CoderTraits coder) {
    int bits = coder.min_bucket_bits;
    while ((1 << bits) - 1 < last) bits++;
    return bits;
}

bool read_table(BitReader& in, Table& t, CoderTraits coder) {
    t = Table{};
    t.first = uint8_t(in.get(8));
    const int count = int(in.get(8)), k = int(in.get(4));
    if (k > 12 || count < 1 || count >= 1 << coder.max_bucket_bits) return false;
    if (t.first + count > 256) return false;
    t.bucket_bits = bucket_bits_for(count, coder);
    int previous = 0, sum = 0;
    const int whole = 1 << coder.prob_bits;
    for (int i = 0; i <= count; i++) {
        const uint32_t quotient = in.ones(kMaxQuotient);
        if (quotient > kMaxQuotient) return false;
        const uint32_t z = quotient << k | uint32_t(in.get(k));
        const int value = previous + int(z >> 1 ^ (~(z & 1) + 1));
        if (value < 0 || value >= whole) return false;
        if (i > 0) previous = value;
        t.frequency[size_t(i)] = uint16_t(value);
        sum += value;
    }
    if (!in.ok() || sum != whole || (count > 1 && previous == 0)) return false;
    build_alias(t, coder.prob_bits);
    return true;
}

}  // namespace taut
