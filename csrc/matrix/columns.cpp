// Units to levels, column by column: by a kernel as far as that goes, then without one, at last with every bound checked.
#include "matrix/columns.hpp"
#include "matrix/rare.hpp"

namespace taut {
namespace {

template <class Coder>
struct Lane {
    const uint8_t *p, *end;
    // One symbol's local number; -1: the units ran out.
    int decode(const Table& t, typename Coder::State& state) {
        const int shift = Coder::prob_bits - t.bucket_bits;
        uint32_t x = state;
        const uint32_t slot = x & ((1u << Coder::prob_bits) - 1), bucket = slot >> shift;
        const uint32_t offset = slot & ((1u << shift) - 1);
        const bool own = offset < t.own[bucket];
        const uint32_t local = own ? bucket : t.alias[bucket];
        x = t.frequency[local] * (x >> Coder::prob_bits) + (own ? offset : uint16_t(offset + t.adjust[bucket]));
        if (x < Coder::low) {
            if (size_t(end - p) < sizeof(typename Coder::Unit)) return -1;
            typename Coder::Unit unit;
            std::memcpy(&unit, p, sizeof unit);
            p += sizeof unit;
            x = x << Coder::unit_bits | unit;
        }
        state = typename Coder::State(x);
        return int(local);
    }
};

// The level of each symbol, by quantiser.
template <bool trellis>
constexpr std::array<std::array<int8_t, 256>, 2> kLevelOf = [] {
    std::array<std::array<int8_t, 256>, 2> of{};
    for (int s = 0; s < 512; s++)
        of[size_t(s >> 8)][size_t(s & 255)] = int8_t(level_of((s & 255) - 128, trellis, s >> 8));
    return of;
}();

// Columns while a unit for each of their rows is left: no branch depends on a symbol, unless that is rare.
template <class Coder, size_t lanes, bool trellis>
void whole_columns(const uint32_t* slots, const MatrixLookup& lookup, typename Coder::State* state,
                   MatrixColumns& m) {
    constexpr uint32_t mask = (1u << Coder::prob_bits) - 1;
    const size_t rows = m.rows, most = rows * sizeof(typename Coder::Unit);
    const uint8_t* p = m.p;
    RareSymbols& rare = *m.rare;
    // Bytes of one's own: a store through a pointer to bytes might change anything else, as the compiler sees it.
    uint8_t states[lanes];
    int8_t levels[lanes];
    std::memcpy(states, m.trellis, lanes);
    constexpr const auto& level = kLevelOf<trellis>;
    for (; m.from < m.columns && size_t(m.end - p) >= most; m.from++) {
        const size_t context = m.context[m.from];
        const MatrixLookup::Constants c = lookup.constants[context];
        const uint8_t mark = uint8_t(c.first - 1), plain = uint8_t(mark + c.base);
        const uint32_t* of = slots + (context << (Coder::prob_bits + (trellis ? 1 : 0)));
        for (size_t r = 0; r < rows; r++) {
            const int quantiser = trellis ? states[r] & 1 : 0;
            uint32_t x = state[r];
            const uint32_t s = of[uint32_t(quantiser) << Coder::prob_bits | (x & mask)];
            x = ((s >> 8) & 0xfff) * (x >> Coder::prob_bits) + (s >> 20);
            typename Coder::Unit unit;
            std::memcpy(&unit, p, sizeof unit);
            const uint32_t need = x < Coder::low;
            x = x << (need * Coder::unit_bits) | (unit & (0u - need));
            p += need * sizeof unit;
            state[r] = typename Coder::State(x);
            uint8_t symbol = uint8_t(s);
            if (uint8_t(symbol - plain) >= c.limit) symbol = rare.meet(symbol, symbol == mark, quantiser, r, m.from);
            levels[r] = level[quantiser][symbol];
            if (trellis) states[r] = kNextState[states[r]][symbol & 1];
        }
        std::memcpy(m.levels + m.from * lanes, levels, rows);
    }
    std::memcpy(m.trellis, states, lanes);
    m.p = p;
}

// The columns that are left of a block, every bound checked.
template <class Coder, size_t lanes>
Status decode_columns(const ArrayHeader& h, typename Coder::State* state, MatrixColumns& m) {
    const bool trellis = h.matrix.trellis;
    const size_t quantisers = trellis ? 2 : 1;
    Lane<Coder> lane{m.p, m.end};
    for (; m.from < m.columns; m.from++) {
        const Table* tables = h.tables.data() + m.context[m.from] * quantisers;
        int8_t* levels = m.levels + m.from * lanes;
        for (size_t r = 0; r < m.rows; r++) {
            const int quantiser = trellis ? m.trellis[r] & 1 : 0;
            const Table& t = tables[quantiser];
            const int local = lane.decode(t, state[r]);
            TAUT_REQUIRE(local >= 0, "symbols end early");
            uint8_t symbol = uint8_t(t.first + local - 1);
            int64_t level = level_of(int(symbol) - 128, trellis, quantiser);
            if (local == 0 || symbol == kException || level != int8_t(level)) {
                symbol = m.rare->meet(symbol, local == 0, quantiser, r, m.from);
                level = level_of(int(symbol) - 128, trellis, quantiser);
            }
            levels[r] = int8_t(level);
            if (trellis) m.trellis[r] = kNextState[m.trellis[r]][symbol & 1];
        }
    }
    m.p = lane.p;
    return {};
}

template <class Coder, size_t lanes>
struct LoopsOf {
    template <class States>
    static auto* of(States& states) {
        if constexpr (sizeof(typename Coder::State) == 2) return states.fast.data();
        else return states.dense.data();
    }
    static bool all(const LaneStates& states, bool last) {
        for (size_t i = 0; i < lanes; i++)
            if (last ? of(states)[i] != Coder::low : of(states)[i] < Coder::low) return false;
        return true;
    }
    static Status columns(const ArrayHeader& h, const Kernels& kernels, const MatrixLookup& lookup,
                          const uint32_t* slots, LaneStates& states, MatrixColumns& m) {
        auto* const state = of(states);
        if constexpr (lanes == 128) {
            if (kernels.matrix_fast) kernels.matrix_fast(lookup, state, m);
        } else if constexpr (lanes == 64) {
            if (kernels.matrix_dense) kernels.matrix_dense(lookup, state, m);
        }
        if (slots) {
            if (h.matrix.trellis) whole_columns<Coder, lanes, true>(slots, lookup, state, m);
            else whole_columns<Coder, lanes, false>(slots, lookup, state, m);
        }
        return decode_columns<Coder, lanes>(h, state, m);
    }
    static constexpr ColumnLoops loops{lanes * sizeof(typename Coder::State), all, columns};
};

}  // namespace

const ColumnLoops& loops_of(CoderId coder) {
    switch (coder) {
        case CoderId::fast: return LoopsOf<Fast, 128>::loops;
        case CoderId::dense: return LoopsOf<Dense, 64>::loops;
        default: return LoopsOf<Dense, 4>::loops;
    }
}

}  // namespace taut
