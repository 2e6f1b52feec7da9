// The symbol encoders, and their tables.
#include "rans/encode.hpp"

namespace taut {
namespace {

FastLookup make_fast_lookup(const Table& t, const std::array<uint16_t, 256>& start, const EncodeTable& e) {
    FastLookup f;
    f.bucket_bits = t.bucket_bits;
    f.first = t.first;
    f.escapes = t.frequency[0] != 0;
    for (size_t i = 0; i < size_t(1) << t.bucket_bits; i++) {
        const size_t from = t.frequency[i] ? i : 0;
        f.frequency[i] = uint8_t(t.frequency[from]);
        f.start[i] = uint8_t(start[from]);
        const uint32_t reciprocal = std::min(0xffffu, 0x10000u / std::max<uint32_t>(1, t.frequency[from]));
        f.reciprocal_low[i] = uint8_t(reciprocal);
        f.reciprocal_high[i] = uint8_t(reciprocal >> 8);
    }
    for (size_t i = 0; i < 256; i++) f.slot_of[i] = uint8_t(e.slot_of[i]);
    return f;
}

template <class Coder>
EncodeTable::Entry make_entry(uint32_t frequency, uint16_t start) {
    constexpr uint64_t one = uint64_t(1) << reciprocal_bits<Coder>;
    if (frequency == 0) return {};  // an escape that never occurs
    return {(one + frequency - 1) / frequency, frequency << (2 * Coder::unit_bits - Coder::prob_bits),
            uint16_t(frequency), start};
}

// One step of at most as many symbols as lanes, last lane first.
template <class Coder>
void code_step(const EncodeTable& table, uint32_t* lane, const uint8_t* symbols, size_t n, BackwardOutput& out) {
    const uint16_t* slot_of = table.slot_of.data();
    uint8_t *p = out.units, *tail = out.tail;
    for (size_t j = n; j-- > 0;) {
        const EncodeTable::Entry& e = table.entry[symbols[j]];
        uint32_t x = lane[j];
        // Kept free of branches: whether a unit leaves is a coin toss, and would be mispredicted.
        const uint32_t full = x >= e.limit;
        const typename Coder::Unit unit = typename Coder::Unit(x);
        std::memcpy(p - sizeof unit, &unit, sizeof unit);
        p -= full * sizeof unit;
        x >>= full * Coder::unit_bits;
        const uint32_t q = uint32_t((x * e.reciprocal) >> reciprocal_bits<Coder>);
        lane[j] = (q << Coder::prob_bits) + slot_of[e.start + x - q * e.frequency];
        tail[-1] = symbols[j];
        tail -= table.escape_frequency != 0 && e.start == 0;
    }
    out = {p, tail};
}

}  // namespace

template <class Coder>
EncodeTable make_encode_table(const Table& t) {
    EncodeTable e;
    const int buckets = 1 << t.bucket_bits, size = 1 << (Coder::prob_bits - t.bucket_bits);
    std::array<uint16_t, 256> start{};
    uint16_t at = 0;
    for (int i = 0; i < buckets; i++) {
        start[size_t(i)] = at;
        at = uint16_t(at + t.frequency[size_t(i)]);
    }
    e.slot_of.resize(size_t(1) << Coder::prob_bits);
    for (int i = 0; i < buckets; i++) {
        const int own = t.own[size_t(i)];
        uint16_t* to = e.slot_of.data() + start[size_t(i)];
        for (int offset = 0; offset < own; offset++) to[offset] = uint16_t(i * size + offset);
        if (own == size) continue;
        to = e.slot_of.data() + start[t.alias[size_t(i)]] + uint16_t(own + t.adjust[size_t(i)]);
        for (int offset = own; offset < size; offset++) to[offset - own] = uint16_t(i * size + offset);
    }
    e.escape_frequency = t.frequency[0];
    e.entry.fill(make_entry<Coder>(t.frequency[0], 0));
    for (int i = 1; i < buckets; i++) {
        if (!t.frequency[size_t(i)]) continue;
        const size_t byte = size_t(t.first + i - 1);
        e.frequency[byte] = t.frequency[size_t(i)];
        e.entry[byte] = make_entry<Coder>(t.frequency[size_t(i)], start[size_t(i)]);
    }
    if (Coder::prob_bits == 8) e.fast = make_fast_lookup(t, start, e);
    return e;
}

template <class Coder, int lanes>
CodedRuns code_runs(const std::vector<SymbolRun>& runs, EncodeFastSteps* wide) {
    constexpr size_t step = lanes < kStep ? lanes : kStep, slack = 64;
    constexpr bool wide_coder = lanes == 128;
    static thread_local Scratch units_scratch, tail_scratch;
    size_t symbols = 0, steps = 0;
    for (const SymbolRun& r : runs) {
        symbols += r.count;
        steps += (r.count + step - 1) / step;
    }
    const size_t most = symbols * sizeof(typename Coder::Unit);  // at most one unit per symbol
    uint8_t* const units_end = units_scratch.at_least(most + slack) + most + slack;
    uint8_t* const tail_end = tail_scratch.at_least(symbols + slack) + symbols + slack;
    BackwardOutput out{units_end, tail_end};
    std::array<uint32_t, size_t(lanes)> state;
    state.fill(Coder::low);
    for (size_t r = runs.size(); r-- > 0;) {
        const SymbolRun& run = runs[r];
        const size_t whole = run.count / step, rest = run.count % step;
        if (rest) {
            steps--;
            code_step<Coder>(*run.table, state.data() + steps * step % lanes, run.symbols + whole * step, rest, out);
        }
        steps -= whole;
        if (wide_coder && wide && whole) {
            FastStates split;
            for (size_t i = 0; i < lanes; i++) {
                split.low[i] = uint8_t(state[i]);
                split.high[i] = uint8_t(state[i] >> 8);
            }
            wide(run.table->fast, split, steps, whole, run.symbols, out);
            for (size_t i = 0; i < lanes; i++) state[i] = uint32_t(split.low[i] | split.high[i] << 8);
            continue;
        }
        for (size_t t = whole; t-- > 0;)
            code_step<Coder>(*run.table, state.data() + (steps + t) * step % lanes, run.symbols + t * step, step, out);
    }
    CodedRuns result{out.units, size_t(units_end - out.units), out.tail, size_t(tail_end - out.tail), {}, 0};
    for (uint32_t x : state) {
        const typename Coder::State s = typename Coder::State(x);
        std::memcpy(result.states.data() + result.states_size, &s, sizeof s);
        result.states_size += sizeof s;
    }
    return result;
}

template EncodeTable make_encode_table<Fast>(const Table&);
template EncodeTable make_encode_table<Dense>(const Table&);
template CodedRuns code_runs<Fast, 128>(const std::vector<SymbolRun>&, EncodeFastSteps*);
template CodedRuns code_runs<Dense, 64>(const std::vector<SymbolRun>&, EncodeFastSteps*);
template CodedRuns code_runs<Dense, 4>(const std::vector<SymbolRun>&, EncodeFastSteps*);

}  // namespace taut
