// Bytes to units: the encoders that mirror the decoders of rans.hpp.
#pragma once
#include <algorithm>

#include "array.hpp"

namespace laconic {

// A table turned round: by byte. Bytes without a slot are coded as the escape (frequency 0 here).
struct EncodeTable {
    std::array<uint16_t, 256> frequency{};
    std::array<uint16_t, 256> start{};   // of the symbol's part of slot_of
    uint16_t escape_frequency = 0;       // the escape's part of slot_of starts at 0
    std::vector<uint16_t> slot_of;       // [start + rank] -> slot
};

template <class Coder>
EncodeTable make_encode_table(const Table& t) {
    EncodeTable e;
    const int shift = Coder::prob_bits - t.bucket_bits, size = 1 << shift, buckets = 1 << t.bucket_bits;
    std::array<uint16_t, 256> start{};
    uint16_t at = 0;
    for (int i = 0; i < buckets; i++) {
        start[size_t(i)] = at;
        at = uint16_t(at + t.frequency[size_t(i)]);
    }
    e.slot_of.resize(size_t(1) << Coder::prob_bits);
    for (int slot = 0; slot < (1 << Coder::prob_bits); slot++) {
        const int bucket = slot >> shift, offset = slot & (size - 1);
        const bool own = offset < t.own[size_t(bucket)];
        const int symbol = own ? bucket : t.alias[size_t(bucket)];
        const int rank = own ? offset : uint16_t(offset + t.adjust[size_t(bucket)]);
        e.slot_of[size_t(start[size_t(symbol)] + rank)] = uint16_t(slot);
    }
    e.escape_frequency = t.frequency[0];
    for (int i = 1; i < buckets; i++) {
        if (!t.frequency[size_t(i)]) continue;
        e.frequency[size_t(t.first + i - 1)] = t.frequency[size_t(i)];
        e.start[size_t(t.first + i - 1)] = start[size_t(i)];
    }
    return e;
}

struct SymbolRun {
    const EncodeTable* table;
    const uint8_t* symbols;
    size_t count;
};

struct Units {
    std::vector<uint8_t> units, states;
};

// Codes runs of symbols as the decoder will meet them: step by step, lane by lane, from the last to the first.
template <class Coder, int lanes>
Units encode_runs(const std::vector<SymbolRun>& runs) {
    using State = typename Coder::State;
    using Unit = typename Coder::Unit;
    constexpr size_t step = lanes < kStep ? lanes : kStep;
    size_t symbols = 0, steps = 0;
    for (const SymbolRun& r : runs) {
        symbols += r.count;
        steps += (r.count + step - 1) / step;
    }
    std::array<uint32_t, size_t(lanes)> state;
    state.fill(Coder::low);
    Units result;
    std::vector<uint8_t>& buffer = result.units;
    buffer.resize(symbols * sizeof(Unit) + 8);  // at most one unit per symbol
    uint8_t* p = buffer.data() + buffer.size();
    for (size_t r = runs.size(); r-- > 0;) {
        const SymbolRun& run = runs[r];
        const EncodeTable& table = *run.table;
        const uint16_t* slot_of = table.slot_of.data();
        for (size_t t = (run.count + step - 1) / step; t-- > 0;) {
            steps--;
            uint32_t* lane = state.data() + (steps * step) % size_t(lanes);
            const size_t from = t * step, n = std::min(step, run.count - from);
            for (size_t j = n; j-- > 0;) {
                const uint8_t byte = run.symbols[from + j];
                uint32_t f = table.frequency[byte], c = table.start[byte];
                if (f == 0) {
                    f = table.escape_frequency;
                    c = 0;
                }
                uint32_t x = lane[j];
                // low / 2^prob_bits * 2^unit_bits * f: above this the state would leave its range
                const uint64_t limit = uint64_t(f) << (Coder::unit_bits * 2 - Coder::prob_bits);
                if (x >= limit) {
                    const Unit unit = Unit(x);
                    p -= sizeof unit;
                    std::memcpy(p, &unit, sizeof unit);
                    x >>= Coder::unit_bits;
                }
                lane[j] = ((x / f) << Coder::prob_bits) + slot_of[c + x % f];
            }
        }
    }
    buffer.erase(buffer.begin(), buffer.begin() + (p - buffer.data()));
    for (uint32_t x : state) {
        const State s = State(x);
        const auto* b = reinterpret_cast<const uint8_t*>(&s);
        result.states.insert(result.states.end(), b, b + sizeof s);
    }
    return result;
}

}  // namespace laconic
