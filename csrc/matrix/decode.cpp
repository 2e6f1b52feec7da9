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
    std::vector<uint8_t> tail;
};

MatrixChunk open_chunk(ConstBytes bytes, uint64_t values, size_t state_size, const Kernels& kernels) {
    ByteReader in(bytes.data, bytes.size);
    const uint64_t unit_size = in.varint(), tail_size = in.varint(), exception_size = in.varint();
    const uint64_t escapes = tail_size ? in.varint() : 0;
    if (escapes > values) throw FormatError("more escapes than values");
    MatrixChunk c;
    c.units = {in.take(unit_size), size_t(unit_size)};
    const uint8_t* tail = in.take(tail_size);
    if (tail_size) c.tail = read_bytes(tail, tail_size, escapes, kernels.dense_steps);
    if (tail_size && !escapes) throw FormatError("a tail without escapes");
    c.exceptions = {in.take(exception_size), size_t(exception_size)};
    c.states = {in.take(state_size), state_size};
    if (in.left()) throw FormatError("bytes are left over");
    return c;
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
void whole_columns(const std::vector<Slots>& slots, const MatrixLookup& lookup, typename Coder::State* state,
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
        const uint32_t* of = slots[context].data();  // those of quantiser 1 behind those of quantiser 0
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
void decode_columns(const ArrayHeader& h, typename Coder::State* state, MatrixColumns& m) {
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
            if (local < 0) throw FormatError("symbols end early");
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
}

void meet_rare(RareSymbols& rare, uint64_t mask, size_t first_lane, size_t column, uint8_t mark,
               const uint8_t* quantisers, uint8_t* symbols) {
    for (; mask; mask &= mask - 1) {
        const size_t i = size_t(std::countr_zero(mask));
        symbols[i] = rare.meet(symbols[i], symbols[i] == mark, quantisers[i] & 1, first_lane + i, column);
    }
}

MatrixLookup make_lookup(const std::vector<Table>& tables, bool trellis, CoderTraits coder) {
    const size_t parts = coder.prob_bits == kFast.prob_bits ? 4 : 6, quantisers = trellis ? 2 : 1;
    MatrixLookup l;
    l.bucket_bits = tables[0].bucket_bits;
    l.trellis = trellis;
    const size_t entries = size_t(1) << l.bucket_bits;
    l.stride = parts * 2 * entries;
    l.bytes.resize(tables.size() / quantisers * l.stride + 64);
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
        l.constants.push_back({t.first, uint8_t(base), uint8_t(std::max(0, end - base))});
    }
    return l;
}

}  // namespace

MatrixDecoder::MatrixDecoder(const ArrayHeader& h, const Kernels& kernels) {
    const MatrixFields& m = h.matrix;
    for (uint8_t e : m.column_exponents) column_scale_.push_back(exponent_scale(e, m.column_fraction));
    if (column_scale_.empty()) column_scale_.assign(h.row_length, 1.0f);
    lookup_ = make_lookup(h.tables, m.trellis, h.traits());
    const bool wide = (h.coder == CoderId::fast && kernels.matrix_fast) ||
                      (h.coder == CoderId::dense && kernels.matrix_dense);
    // Slots must be worth making.
    if (wide || h.count < 1024 * h.tables.size()) return;
    for (size_t i = 0; i < h.tables.size(); i++) {
        const Slots s = h.coder == CoderId::fast ? make_slots<Fast>(h.tables[i]) : make_slots<Dense>(h.tables[i]);
        if (m.trellis && i % 2) slots_.back().insert(slots_.back().end(), s.begin(), s.end());
        else slots_.push_back(s);
    }
}

template <class Coder, size_t lanes>
void MatrixDecoder::decode_groups(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes,
                                  uint8_t* out) const {
    using State = typename Coder::State;
    const uint64_t first_row = chunk * h.chunk_rows, rows = std::min(h.chunk_rows, h.row_count() - first_row);
    const MatrixChunk parts = open_chunk(bytes, rows * h.row_length, lanes * sizeof(State), kernels);
    alignas(64) State state[lanes];
    std::memcpy(state, parts.states.data, sizeof state);
    for (State x : state)
        if (x < Coder::low) throw FormatError("state out of range");
    RareSymbols rare(h, parts.tail, parts.exceptions);
    const size_t columns = size_t(h.row_length), row_bytes = columns * h.width;
    if (out) out += first_row * row_bytes;
    std::array<float, 256> amounts;
    for (int level = -128; level < 128; level++) {
        const int q = h.matrix.trellis ? (level > 0 ? level + 1 : level - 1) / 2 : level;
        amounts[uint8_t(level)] = rare.amount(q, level);
    }
    std::vector<uint8_t> contexts(columns);
    std::vector<int8_t> levels(kMatrixBlock * lanes), turned(kMatrixBlock * lanes);
    MatrixRule rule{{}, 1, nullptr};
    for (int k = 1; k < 8; k++)
        rule.offset[size_t(k)] = h.offsets[size_t(std::min(3, h.matrix.trellis ? (k + 1) / 2 : k) - 1)];
    std::array<float, lanes> row_scale;
    const uint8_t *p = parts.units.data, *end = p + parts.units.size;
    int row_class = -1;
    const RowOrder in_order = order_matrix_rows(h, first_row, rows);
    for (const RowGroup& g : in_order.groups) {
        if (g.row_class != row_class) contexts_of(h, uint8_t(row_class = g.row_class), contexts.data());
        const size_t n = g.count;
        const uint32_t* const of_lane = in_order.order.data() + g.begin;
        for (size_t r = 0; r < n; r++) {
            const std::vector<uint8_t>& e = h.matrix.row_exponents;
            const float scale = e.empty() ? 1.0f : exponent_scale(e[first_row + of_lane[r]], h.matrix.row_fraction);
            row_scale[r] = h.step * scale;
        }
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
                if (h.matrix.trellis) whole_columns<Coder, lanes, true>(slots_, lookup_, state, m);
                else whole_columns<Coder, lanes, false>(slots_, lookup_, state, m);
            }
            decode_columns<Coder, lanes>(h, state, m);
            p = m.p;
            if (rare.broken()) throw FormatError("escapes or exceptions end early");
            if (!out) continue;
            const bool wide = kernels.transpose && lanes >= 64;
            if (wide) kernels.transpose(levels.data(), lanes, n, turned.data());
            rule.column_scale = column_scale_.data() + c;
            for (size_t r = 0; r < n; r++) {
                uint8_t* to = out + of_lane[r] * row_bytes + c * h.width;
                const int8_t* row = turned.data() + r * kMatrixBlock;
                rule.row_scale = row_scale[r];
                if (!wide)
                    for (size_t j = 0; j < width; j++) turned[r * kMatrixBlock + j] = levels[j * lanes + r];
                size_t j = kernels.matrix_row ? kernels.matrix_row(rule, h.output, row, width, to) : 0;
                for (; j < width; j++) {
                    const float v = amounts[uint8_t(row[j])] * rule.row_scale;
                    store(h.output, v * rule.column_scale[j], to, j);
                }
            }
            for (const RareSymbols::Found& f : rare.found) {
                const float v = f.amount * row_scale[f.lane];
                store(h.output, v * column_scale_[c + f.column], out + of_lane[f.lane] * row_bytes, c + f.column);
            }
        }
    }
    for (State x : state)
        if (x != Coder::low) throw FormatError("final state is wrong");
    if (p != end) throw FormatError("symbols left over");
    if (!rare.used_up()) throw FormatError("escapes or exceptions left over");
}

void MatrixDecoder::decode_chunk(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes,
                                 uint8_t* out) const {
    switch (h.coder) {
        case CoderId::fast: return decode_groups<Fast, 128>(h, kernels, chunk, bytes, out);
        case CoderId::dense: return decode_groups<Dense, 64>(h, kernels, chunk, bytes, out);
        case CoderId::small: return decode_groups<Dense, 4>(h, kernels, chunk, bytes, out);
    }
}

}  // namespace taut
