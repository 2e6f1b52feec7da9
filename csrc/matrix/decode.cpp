// Chunks of a matrix.
#include <algorithm>
#include <bit>

#include "array/values.hpp"
#include "matrix/layout.hpp"
#include "matrix/rare.hpp"

namespace taut {
namespace {

struct MatrixChunk {
    ConstBytes units, exceptions, states;
    Vec<uint8_t> tail;
};

Status open_chunk(ConstBytes bytes, uint64_t values, size_t state_size, const Kernels& kernels, MatrixChunk& c) {
    ByteReader in(bytes.data, bytes.size);
    const uint64_t unit_size = in.varint(), tail_size = in.varint(), exception_size = in.varint();
    const uint64_t escapes = tail_size ? in.varint() : 0;
    TAUT_REQUIRE(escapes <= values, "more escapes than values");
    c.units = {in.take(unit_size), size_t(unit_size)};
    const uint8_t* tail = in.take(tail_size);
    TAUT_TRY(in.status());
    if (tail_size) TAUT_TRY(read_bytes(tail, tail_size, escapes, c.tail, kernels.dense_steps));
    TAUT_REQUIRE(!tail_size || escapes, "a tail without escapes");
    c.exceptions = {in.take(exception_size), size_t(exception_size)};
    c.states = {in.take(state_size), state_size};
    TAUT_TRY(in.status());
    TAUT_REQUIRE(!in.left(), "bytes are left over");
    return {};
}

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
    static constexpr std::array<std::array<int8_t, 256>, 2> level = [] {
        std::array<std::array<int8_t, 256>, 2> of{};
        for (int s = 0; s < 512; s++)
            of[size_t(s >> 8)][size_t(s & 255)] = int8_t(level_of((s & 255) - 128, trellis, s >> 8));
        return of;
    }();
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

void meet_rare(RareSymbols& rare, uint64_t mask, size_t first_lane, size_t column, uint8_t mark,
               const uint8_t* quantisers, uint8_t* symbols) {
    for (; mask; mask &= mask - 1) {
        const size_t i = size_t(std::countr_zero(mask));
        symbols[i] = rare.meet(symbols[i], symbols[i] == mark, quantisers[i] & 1, first_lane + i, column);
    }
}

Status make_lookup(const Vec<Table>& tables, bool trellis, CoderTraits coder, MatrixLookup& l) {
    const size_t parts = coder.prob_bits == kFast.prob_bits ? 4 : 6, quantisers = trellis ? 2 : 1;
    l.bucket_bits = tables[0].bucket_bits;
    l.trellis = trellis;
    const size_t entries = size_t(1) << l.bucket_bits;
    l.stride = parts * 2 * entries;
    TAUT_HAVE(l.bytes.try_resize(tables.size() / quantisers * l.stride + 64));
    for (size_t i = 0; i < tables.size(); i++) {
        const Table& t = tables[i];
        uint8_t* to = l.bytes.data() + i / quantisers * l.stride + i % quantisers * entries;
        const auto put = [&](auto get) {
            for (size_t k = 0; k < entries; k++) to[k] = uint8_t(get(k));
            to += 2 * entries;
        };
        put([&](size_t k) { return t.own[k]; });
        put([&](size_t k) { return t.alias[k]; });
        put([&](size_t k) { return t.adjust[k]; });
        if (parts == 6) put([&](size_t k) { return t.adjust[k] >> 8; });
        put([&](size_t k) { return t.frequency[k]; });
        if (parts == 6) put([&](size_t k) { return t.frequency[k] >> 8; });
        if (i % quantisers) continue;
        // Of a trellis, indices of 64 and more have levels that no byte holds.
        const int base = trellis ? std::max(1, 66 - t.first) : 1, end = (trellis ? 193 : 256) - t.first;
        TAUT_HAVE(l.constants.try_push({t.first, uint8_t(base), uint8_t(std::max(0, end - base))}));
    }
    return {};
}

// What the levels of one byte stand for, and how a block of them becomes numbers.
struct Levels {
    std::array<float, 256> amounts;
    MatrixRule rule{{}, 1, nullptr};

    Levels(const ArrayHeader& h, const RareSymbols& rare) {
        for (int level = -128; level < 128; level++) {
            const int q = h.matrix.trellis ? (level > 0 ? level + 1 : level - 1) / 2 : level;
            amounts[uint8_t(level)] = rare.amount(q, level);
        }
        for (int k = 1; k < 8; k++)
            rule.offset[size_t(k)] = h.offsets[size_t(std::min(3, h.matrix.trellis ? (k + 1) / 2 : k) - 1)];
    }
    void put_row(const ArrayHeader& h, const Kernels& kernels, const int8_t* row, size_t width, uint8_t* to) const {
        size_t j = kernels.matrix_row ? kernels.matrix_row(rule, h.output, row, width, to) : 0;
        for (; j < width; j++) {
            const float v = amounts[uint8_t(row[j])] * rule.row_scale;
            store(h.output, v * rule.column_scale[j], to, j);
        }
    }
};

}  // namespace

Status MatrixDecoder::open(const ArrayHeader& h, const Kernels& kernels) {
    const MatrixFields& m = h.matrix;
    TAUT_HAVE(column_scale_.try_assign(h.row_length, 1.0f));
    for (size_t c = 0; c < m.column_exponents.size(); c++)
        column_scale_[c] = exponent_scale(m.column_exponents[c], m.column_fraction);
    TAUT_TRY(make_lookup(h.tables, m.trellis, h.traits(), lookup_));
    const bool fast = h.coder == CoderId::fast;
    const bool wide = (fast && kernels.matrix_fast) || (h.coder == CoderId::dense && kernels.matrix_dense);
    // Slots must be worth making.
    if (wide || h.count < 1024 * h.tables.size()) return {};
    const int bits = h.traits().prob_bits;
    TAUT_HAVE(slots_.try_resize_raw(h.tables.size() << bits));
    for (size_t i = 0; i < h.tables.size(); i++) {
        uint32_t* to = slots_.data() + (i << bits);
        fast ? make_slots<Fast>(h.tables[i], to) : make_slots<Dense>(h.tables[i], to);
    }
    return {};
}

template <class Coder, size_t lanes>
Status MatrixDecoder::decode_groups(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes,
                                    uint8_t* out, Put put) const {
    using State = typename Coder::State;
    const uint64_t first_row = chunk * h.chunk_rows, rows = std::min(h.chunk_rows, h.row_count() - first_row);
    MatrixChunk parts{{}, {}, {}, Vec<uint8_t>(memory_)};
    TAUT_TRY(open_chunk(bytes, rows * h.row_length, lanes * sizeof(State), kernels, parts));
    alignas(64) State state[lanes];
    std::memcpy(state, parts.states.data, sizeof state);
    for (State x : state) TAUT_REQUIRE(x >= Coder::low, "state out of range");
    RareSymbols rare(h, std::move(parts.tail), parts.exceptions, memory_);
    const size_t columns = size_t(h.row_length), value_bytes = put == Put::integers ? 4 : h.width;
    const size_t row_bytes = columns * value_bytes;
    Levels made(h, rare);
    Vec<uint8_t> contexts(memory_);
    Vec<int8_t> levels(memory_), turned(memory_);
    TAUT_HAVE(contexts.try_resize(columns) && levels.try_resize(kMatrixBlock * lanes) &&
              turned.try_resize(kMatrixBlock * lanes));
    std::array<float, lanes> row_scale;
    const uint8_t *p = parts.units.data, *end = p + parts.units.size;
    int row_class = -1;
    RowOrder in_order(memory_);
    TAUT_TRY(order_matrix_rows(h, first_row, rows, in_order));
    for (const RowGroup& g : in_order.groups) {
        if (g.row_class != row_class) contexts_of(h, uint8_t(row_class = g.row_class), contexts.data());
        const size_t n = g.count;
        const uint32_t* const of_lane = in_order.order.data() + g.begin;
        for (size_t r = 0; r < n; r++) row_scale[r] = matrix_row_scale(h, first_row + of_lane[r]);
        alignas(64) uint8_t trellis[lanes] = {};
        for (size_t c = 0; c < columns; c += kMatrixBlock) {
            const size_t width = std::min(kMatrixBlock, columns - c);
            rare.found.clear();
            MatrixColumns m{contexts.data() + c, 0, width, n, trellis, p, end, levels.data(), &rare, meet_rare};
            if constexpr (lanes == 128) {
                if (kernels.matrix_fast) kernels.matrix_fast(lookup_, state, m);
            } else if constexpr (lanes == 64) {
                if (kernels.matrix_dense) kernels.matrix_dense(lookup_, state, m);
            }
            if (!slots_.empty()) {
                if (h.matrix.trellis) whole_columns<Coder, lanes, true>(slots_.data(), lookup_, state, m);
                else whole_columns<Coder, lanes, false>(slots_.data(), lookup_, state, m);
            }
            TAUT_TRY((decode_columns<Coder, lanes>(h, state, m)));
            p = m.p;
            TAUT_TRY(rare.status());
            if (!out) continue;
            const bool wide = kernels.transpose && lanes >= 64;
            if (wide) kernels.transpose(levels.data(), lanes, n, turned.data());
            made.rule.column_scale = column_scale_.data() + c;
            for (size_t r = 0; r < n; r++) {
                uint8_t* to = out + of_lane[r] * row_bytes + c * value_bytes;
                const int8_t* row = turned.data() + r * kMatrixBlock;
                made.rule.row_scale = row_scale[r];
                if (!wide)
                    for (size_t j = 0; j < width; j++) turned[r * kMatrixBlock + j] = levels[j * lanes + r];
                if (put == Put::values) made.put_row(h, kernels, row, width, to);
                else
                    for (size_t j = 0; j < width; j++) taut::put(to, j, int32_t(row[j]));
            }
            for (const RareSymbols::Found& f : rare.found) {
                uint8_t* to = out + of_lane[f.lane] * row_bytes;
                const float v = f.amount * row_scale[f.lane];
                if (put == Put::values) store(h.output, v * column_scale_[c + f.column], to, c + f.column);
                else {
                    TAUT_REQUIRE(f.level == int32_t(f.level), "a level of more than 32 bits");
                    taut::put(to, c + f.column, int32_t(f.level));
                }
            }
        }
    }
    for (State x : state) TAUT_REQUIRE(x == Coder::low, "final state is wrong");
    TAUT_REQUIRE(p == end, "symbols left over");
    TAUT_REQUIRE(rare.used_up(), "escapes or exceptions left over");
    return {};
}

float matrix_row_scale(const ArrayHeader& h, uint64_t row) {
    const Vec<uint8_t>& e = h.matrix.row_exponents;
    return h.step * (e.empty() ? 1.0f : exponent_scale(e[row], h.matrix.row_fraction));
}

Status MatrixDecoder::decode_chunk(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes,
                                   uint8_t* out, Put put) const {
    switch (h.coder) {
        case CoderId::fast: return decode_groups<Fast, 128>(h, kernels, chunk, bytes, out, put);
        case CoderId::dense: return decode_groups<Dense, 64>(h, kernels, chunk, bytes, out, put);
        default: return decode_groups<Dense, 4>(h, kernels, chunk, bytes, out, put);
    }
}

}  // namespace taut
