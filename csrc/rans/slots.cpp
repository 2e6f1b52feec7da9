// Slots from frequencies, once for all that decodes: as buckets and their aliases, and packed.
#include "rans/coders.hpp"

namespace taut {

void build_alias(Table& t, int prob_bits) {
    const int buckets = 1 << t.bucket_bits;
    const int size = 1 << (prob_bits - t.bucket_bits);
    std::array<int, 256> rest{};
    std::array<bool, 256> done{};
    for (int i = 0; i < buckets; i++) {
        rest[i] = t.frequency[i];
        t.own[i] = uint16_t(size);
        t.alias[i] = uint8_t(i);
        t.adjust[i] = 0;
    }
    int large = 0;
    while (large < buckets && rest[large] <= size) large++;
    for (int i = 0; i < buckets; i++) {
        int j = i;
        while (!done[j] && rest[j] < size && large < buckets) {
            const int donor = large;
            t.own[j] = uint16_t(rest[j]);
            t.alias[j] = uint8_t(donor);
            done[j] = true;
            rest[donor] -= size - rest[j];
            while (large < buckets && rest[large] <= size) large++;
            if (donor > i) break;  // the scan still comes by; a donor behind it is filled up now
            j = donor;
        }
    }
    // Ranks: a symbol's own offsets first, then its alias parts in bucket order.
    std::array<int, 256> next{};
    for (int i = 0; i < buckets; i++) next[i] = t.own[i];
    for (int i = 0; i < buckets; i++) {
        if (t.own[i] == size) continue;
        t.adjust[i] = uint16_t(next[t.alias[i]] - t.own[i]);
        next[t.alias[i]] += size - t.own[i];
    }
}

void make_slots(const Table& t, int prob_bits, uint32_t* slots) {
    const int shift = prob_bits - t.bucket_bits, size = 1 << shift;
    for (int slot = 0; slot < 1 << prob_bits; slot++) {
        const int bucket = slot >> shift, offset = slot & (size - 1);
        const bool own = offset < t.own[bucket];
        const int symbol = own ? bucket : t.alias[bucket];
        const int rank = own ? offset : uint16_t(offset + t.adjust[bucket]);
        const uint8_t byte = uint8_t(t.first + symbol - 1);
        slots[slot] = byte | uint32_t(t.frequency[symbol]) << 8 | uint32_t(rank) << 20;
    }
}

}  // namespace taut
