// Coded arrays by hand: any that docs/coding.md allows (every coder at a few hundred values, any table, any mix of
// escapes, exceptions, bare zeros and dropped bits), most of which no encoder would write.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <random>

#include "base/bits.hpp"
#include "fuzz_input.hpp"
#include "split/split.hpp"

namespace fuzz {

using Random = std::mt19937_64;

inline uint64_t below(Random& random, uint64_t n) { return random() % n; }
inline bool chance(Random& random, uint64_t one_in) { return below(random, one_in) == 0; }

// Any table: a random share of the slots for each of some local symbols, the escape among them now and then.
inline taut::Table any_table(Random& random, taut::CoderTraits coder) {
    taut::Table t;
    const int whole = 1 << coder.prob_bits, most = (1 << coder.max_bucket_bits) - 1;
    const int last = 1 + int(below(random, chance(random, 3) ? uint64_t(most) : 8));
    t.first = uint8_t(below(random, uint64_t(257 - last)));
    t.bucket_bits = coder.min_bucket_bits;
    while ((1 << t.bucket_bits) - 1 < last) t.bucket_bits++;
    int left = whole;
    const auto give = [&](int local, int slots) {
        t.frequency[size_t(local)] = uint16_t(t.frequency[size_t(local)] + slots);
        left -= slots;
    };
    give(last, 1);
    if (last == 1 || chance(random, 2)) give(0, 1 + int(below(random, 3)));
    while (left > 0) {
        const int local = 1 + int(below(random, uint64_t(last)));
        const int room = std::min(left, whole - 1 - t.frequency[size_t(local)]);
        if (room > 0) give(local, 1 + int(below(random, uint64_t(room))) / (chance(random, 4) ? 1 : 8));
        else if (last == 1) give(0, left);
    }
    taut::build_alias(t, coder.prob_bits);
    return t;
}

// The symbol coder once more, the slow and clear way: slots of each local symbol by rank.
template <class Coder>
struct SlotsByRank {
    std::vector<std::vector<uint16_t>> slots;
    explicit SlotsByRank(const taut::Table& t) : slots(size_t(1) << t.bucket_bits) {
        const int shift = Coder::prob_bits - t.bucket_bits;
        for (size_t s = 0; s < slots.size(); s++) slots[s].resize(t.frequency[s]);
        for (int slot = 0; slot < 1 << Coder::prob_bits; slot++) {
            const size_t bucket = size_t(slot >> shift);
            const int offset = slot & ((1 << shift) - 1);
            const bool own = offset < t.own[bucket];
            slots[own ? bucket : t.alias[bucket]][own ? size_t(offset) : uint16_t(offset + t.adjust[bucket])] =
                uint16_t(slot);
        }
    }
};

struct Segment {
    const taut::Table* table;
    std::vector<uint8_t> locals;
};

// Units, then states, of some segments; from the last symbol to the first.
template <class Coder>
void code(const std::vector<Segment>& segments, size_t lanes, Bytes& units, Bytes& states) {
    const size_t step = std::min<size_t>(lanes, taut::kStep);
    std::vector<uint32_t> state(lanes, Coder::low);
    size_t steps = 0;
    for (const Segment& s : segments) steps += (s.locals.size() + step - 1) / step;
    for (size_t k = segments.size(); k-- > 0;) {
        const SlotsByRank<Coder> by_rank(*segments[k].table);
        const std::vector<uint8_t>& locals = segments[k].locals;
        for (size_t t = (locals.size() + step - 1) / step; t-- > 0;) {
            steps--;
            for (size_t j = std::min(step, locals.size() - t * step); j-- > 0;) {
                uint32_t& x = state[(steps * step) % lanes + j];
                const auto& slots = by_rank.slots[locals[t * step + j]];
                const uint64_t f = slots.size();
                if (x >= f << (2 * Coder::unit_bits - Coder::prob_bits)) {
                    for (int b = int(sizeof(typename Coder::Unit)); b-- > 0;) units.push_back(uint8_t(x >> (8 * b)));
                    x >>= Coder::unit_bits;
                }
                x = uint32_t(x / f) << Coder::prob_bits | slots[x % f];
            }
        }
    }
    std::reverse(units.begin(), units.end());
    for (uint32_t x : state) put_length(states, x, sizeof(typename Coder::State));
}

inline void put_number(Bytes& out, uint64_t v) {
    for (; v >= 0x80; v >>= 7) out.push_back(uint8_t(v | 0x80));
    out.push_back(uint8_t(v));
}

inline Bytes noise(Random& random, size_t size) {
    Bytes bytes(size);
    for (uint8_t& b : bytes) b = uint8_t(random());
    return bytes;
}

constexpr uint8_t kMinusZero = 254;  // where zeros are bare, so is this symbol

inline uint8_t any_escaped(Random& random) {
    if (chance(random, 8)) return taut::kException;
    return uint8_t(below(random, 4) ? 1 + below(random, 9) : random());
}

inline Bytes crafted_chunk(Random& random, const taut::ArrayHeader& h, uint64_t first_row, uint64_t rows) {
    const auto row_byte = [&](uint64_t r) { return h.rows.empty() ? uint8_t(0) : h.rows[first_row + r]; };
    const auto length = [&](uint64_t r) {
        return size_t(std::min(h.row_length, h.count - (first_row + r) * h.row_length));
    };
    std::vector<Segment> segments;
    std::vector<Bytes> symbols(rows);  // by row, escapes resolved
    Bytes tail;
    const int prob_bits = h.traits().prob_bits;
    for (size_t t = 0; t < h.tables.size(); t++) {
        const taut::Table& table = h.tables[t];
        segments.push_back({&table, {}});
        std::vector<uint32_t> slots(size_t(1) << prob_bits);
        taut::make_slots(table, prob_bits, slots.data());
        for (uint64_t r = 0; r < rows; r++) {
            if ((row_byte(r) & ~taut::kDropRow) != t) continue;
            for (size_t i = 0; i < length(r); i++) {
                const uint8_t symbol = uint8_t(slots[below(random, slots.size())]);
                const uint8_t local = uint8_t(symbol - table.first + 1);
                segments[t].locals.push_back(local);
                if (local == 0) tail.push_back(any_escaped(random));
                symbols[r].push_back(local ? symbol : tail.back());
            }
        }
    }
    Bytes raw, exceptions, units, states;
    for (uint64_t r = 0; r < rows; r++) {
        size_t fields = 0;
        for (uint8_t s : symbols[r]) {
            fields += !(h.flags & taut::kSkipZero) || (s != 0 && s != kMinusZero);
            if (s != taut::kException) continue;
            const Bytes word = noise(random, h.kind == taut::Kind::uniform ? 4 : h.width);
            exceptions.insert(exceptions.end(), word.begin(), word.end());
        }
        const int bits = h.kind == taut::Kind::uniform ? 0 : h.low - (row_byte(r) & taut::kDropRow ? h.drop : 0);
        const Bytes row = noise(random, (fields * size_t(bits) + 7) / 8);
        raw.insert(raw.end(), row.begin(), row.end());
    }
    switch (h.coder) {
        case taut::CoderId::fast: code<taut::Fast>(segments, 128, units, states); break;
        case taut::CoderId::dense: code<taut::Dense>(segments, 64, units, states); break;
        case taut::CoderId::small: code<taut::Dense>(segments, 4, units, states); break;
    }
    const Bytes tail_stream = tail.empty() ? tail : taut::write_bytes(tail);
    Bytes chunk;
    for (const Bytes* part : std::initializer_list<const Bytes*>{&units, &tail_stream, &exceptions})
        put_number(chunk, part->size());
    for (const Bytes* part : std::initializer_list<const Bytes*>{&raw, &units, &tail_stream, &exceptions, &states})
        chunk.insert(chunk.end(), part->begin(), part->end());
    return chunk;
}

inline Input crafted(Random& random) {
    taut::ArrayHeader h;
    h.kind = chance(random, 4) ? taut::Kind::uniform : taut::Kind::split;
    h.coder = taut::CoderId(below(random, 3));
    h.row_length = 1 + below(random, 300);
    h.chunk_rows = 1 + below(random, 12);
    h.count = 1 + below(random, 2000);
    while (h.chunk_count() > kMostChunks) h.chunk_rows *= 2;
    if (h.kind == taut::Kind::uniform) {
        h.output = taut::Output(below(random, 4));
        h.width = uint8_t(h.output == taut::Output::f64 ? 8 : h.output == taut::Output::f32 ? 4 : 2);
        h.step = 0.25f;
        h.offsets = {0.3f, 0.2f, 0.1f};
    } else {
        h.width = uint8_t(1 << below(random, 4));
        h.mode = taut::Mode(below(random, 3));
        const bool is_float = h.mode == taut::Mode::float_;
        h.low = uint8_t(is_float + below(random, uint64_t(std::min(8 * h.width, taut::kMaxLow + 1) - is_float)));
        h.drop = uint8_t(chance(random, 2) ? 0 : below(random, uint64_t(h.low - is_float + 1)));
        h.flags = uint8_t(is_float && chance(random, 3));
        h.base = chance(random, 4) ? random() : below(random, 200);
    }
    const size_t tables = 1 + size_t(chance(random, 2) ? 0 : below(random, taut::kMaxTables));
    for (size_t t = 0; t < tables; t++) h.tables.push_back(any_table(random, h.traits()));
    if (tables > 1 || h.drop) {
        const uint8_t mark = h.drop && chance(random, 2) ? taut::kDropRow : 0;
        for (uint64_t r = 0; r < h.row_count(); r++)
            h.rows.push_back(uint8_t(below(random, tables) | (chance(random, 2) ? mark : 0)));
    }
    Input in{taut::write_split_header(h), {}};
    for (uint64_t r = 0; r < h.row_count(); r += h.chunk_rows)
        in.chunks.push_back(crafted_chunk(random, h, r, std::min(h.chunk_rows, h.row_count() - r)));
    return in;
}

}  // namespace fuzz
