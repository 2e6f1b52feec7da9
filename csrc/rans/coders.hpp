// Interleaved rANS with alias-mapped tables: the probability side of the core.
//
// Three surprises before the code:
//  1. Decoding runs forward over the units, so encoding runs backward over the symbols.
//  2. Slots are laid out by the alias method (Walker 1977; Vose 1991), not in cumulative order: a slot is
//     `bucket * bucket_size + offset`, and a bucket holds at most two symbols: its own, then its alias. One compare
//     replaces the search, so every table of a decoder is a few vector registers and nothing is gathered.
//  3. Local symbol 0 is the escape: the true symbol stands in the tail stream of the chunk.
//
// Two coders share this code (docs/coding.md, "Coders"):
//   fast   16-bit states in [2^8, 2^16),  8-bit probabilities, units of one byte,  128 lanes
//   dense  32-bit states in [2^16, 2^32), 12-bit probabilities, units of two bytes, 64 lanes (4 for small streams)
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace taut {

struct Fast {
    using State = uint16_t;
    using Unit = uint8_t;
    static constexpr int prob_bits = 8;
    static constexpr int lanes = 128;
    static constexpr uint32_t low = 1u << 8;  // states live in [low, low << unit_bits)
    static constexpr int unit_bits = 8;
};

struct Dense {
    using State = uint32_t;
    using Unit = uint16_t;
    static constexpr int prob_bits = 12;
    static constexpr int lanes = 64;
    static constexpr uint32_t low = 1u << 16;
    static constexpr int unit_bits = 16;
};

// At most 64 consecutive symbols of one segment make a step; step t uses lanes (64 t) mod lanes and up.
constexpr int kStep = 64;

// One context's probabilities. `frequency` sums to 2^prob_bits; every entry is below 2^prob_bits, so that a product
// of a state's upper part and a frequency never overflows the state.
struct Table {
    int bucket_bits = 6;            // 2^bucket_bits local symbols
    uint8_t first = 0;              // local symbol s > 0 stands for the byte first + s - 1
    std::array<uint16_t, 256> frequency{};
    // Made by build_alias: within a bucket, offsets below `own` belong to the bucket's own symbol.
    std::array<uint16_t, 256> own{};
    std::array<uint8_t, 256> alias{};
    std::array<uint16_t, 256> adjust{};  // rank of a slot within its symbol: offset, or offset + adjust for the alias
};

void build_alias(Table& t, int prob_bits);

// Decode `steps` whole steps of one segment; a unit for each of their symbols is readable. Wide loads run over the end
// of their input by at most 64 bytes.
using DecodeFastSteps = void(const Table&, uint16_t* state, size_t& bank, size_t steps, const uint8_t*& p,
                             uint8_t* out);
using DecodeDenseSteps = void(const Table&, uint32_t* state, size_t& bank, size_t steps, const uint8_t*& p,
                              uint8_t* out);

// Packed slots for scalar decoding, 2^prob_bits of them: byte | frequency << 8 | rank << 20.
void make_slots(const Table& t, int prob_bits, uint32_t* slots);

// Decodes one step of `count` <= 64 symbols straight from the table, every bound checked. False: the units ran out.
template <class Coder>
bool decode_step(const Table& t, typename Coder::State* state, size_t count, const uint8_t*& p, const uint8_t* end,
                 uint8_t* out) {
    const int shift = Coder::prob_bits - t.bucket_bits;
    constexpr uint32_t mask = (1u << Coder::prob_bits) - 1;
    for (size_t j = 0; j < count; j++) {
        uint32_t x = state[j];
        const uint32_t slot = x & mask, bucket = slot >> shift, offset = slot & ((1u << shift) - 1);
        const bool own = offset < t.own[bucket];
        const uint32_t symbol = own ? bucket : t.alias[bucket];
        out[j] = uint8_t(t.first + symbol - 1);
        x = t.frequency[symbol] * (x >> Coder::prob_bits) + (own ? offset : uint16_t(offset + t.adjust[bucket]));
        if (x < Coder::low) {
            if (size_t(end - p) < sizeof(typename Coder::Unit)) return false;
            typename Coder::Unit unit;
            std::memcpy(&unit, p, sizeof unit);
            p += sizeof unit;
            x = x << Coder::unit_bits | unit;
        }
        state[j] = typename Coder::State(x);
    }
    return true;
}

// Decodes whole steps without checks; the caller has seen that 64 units are left for each step.
template <class Coder>
void decode_steps_portable(const uint32_t* slots, typename Coder::State* state, size_t& bank, size_t steps,
                           const uint8_t*& p, uint8_t* out) {
    constexpr uint32_t mask = (1u << Coder::prob_bits) - 1;
    for (size_t t = 0; t < steps; t++, out += kStep) {
        typename Coder::State* lane = state + bank;
        for (int j = 0; j < kStep; j++) {
            uint32_t x = lane[j];
            const uint32_t s = slots[x & mask];
            out[j] = uint8_t(s);
            x = ((s >> 8) & 0xfff) * (x >> Coder::prob_bits) + (s >> 20);
            typename Coder::Unit unit;
            std::memcpy(&unit, p, sizeof unit);
            const uint32_t need = x < Coder::low;  // kept free of branches: a coin toss would be mispredicted
            x = x << (need * Coder::unit_bits) | (unit & (0u - need));
            p += need * sizeof unit;
            lane[j] = typename Coder::State(x);
        }
        bank = (bank + kStep) % Coder::lanes;
    }
}

}  // namespace taut
