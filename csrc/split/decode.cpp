// Decoding one chunk: units to symbols, escapes patched, symbols and raw bits to values.
#include <algorithm>

#include "array/values.hpp"
#include "split/split.hpp"

namespace taut {
namespace {

// Where a chunk's parts lie. The states come last: they are the readable bytes that wide loads may run into.
struct Parts {
    const uint8_t *raw, *units, *tail, *exceptions, *states;
    size_t raw_size, unit_size, tail_size, exception_size, state_size;
};

size_t state_bytes(CoderId coder) { return coder == CoderId::small ? 16 : 256; }

Status open_chunk(const ArrayHeader& h, ConstBytes bytes, Parts& p) {
    ByteReader in(bytes.data, bytes.size);
    p.unit_size = in.varint();
    p.tail_size = in.varint();
    p.exception_size = in.varint();
    p.state_size = state_bytes(h.coder);
    const size_t left = in.left();
    TAUT_TRY(in.status());
    if (p.unit_size > left || p.tail_size > left - p.unit_size ||
        p.exception_size > left - p.unit_size - p.tail_size ||
        p.state_size > left - p.unit_size - p.tail_size - p.exception_size)
        return "parts are longer than the chunk";
    p.raw_size = left - p.unit_size - p.tail_size - p.exception_size - p.state_size;
    p.raw = in.take(p.raw_size);
    p.units = in.take(p.unit_size);
    p.tail = in.take(p.tail_size);
    p.exceptions = in.take(p.exception_size);
    p.states = in.take(p.state_size);
    return {};
}

// The rows of one chunk.
struct Span {
    uint64_t first_row, rows, values;
    size_t length(const ArrayHeader& h, uint64_t r) const {  // of its r-th row: the array's last may be shorter
        return size_t(std::min(h.row_length, values - r * h.row_length));
    }
};

// Where each row's symbols stand when rows are grouped by table, tables in order, rows in order within.
struct Grouping {
    explicit Grouping(Memory& memory) : start(memory) {}
    Vec<size_t> start;                  // per row of the chunk
    std::array<size_t, kMaxTables> count{};  // symbols per table
};

Status group_rows(const ArrayHeader& h, const Span& span, Grouping& g) {
    TAUT_HAVE(g.start.try_resize_raw(span.rows));
    const auto table_of = [&](uint64_t r) {
        return h.rows.empty() ? 0 : size_t(h.rows[span.first_row + r] & ~kDropRow);
    };
    for (uint64_t r = 0; r < span.rows; r++) g.count[table_of(r)] += span.length(h, r);
    std::array<size_t, kMaxTables> at{};
    for (size_t t = 1; t < kMaxTables; t++) at[t] = at[t - 1] + g.count[t - 1];
    for (uint64_t r = 0; r < span.rows; r++) {
        g.start[r] = at[table_of(r)];
        at[table_of(r)] += span.length(h, r);
    }
    return {};
}

template <class Coder>
void run_steps(const Kernels& k, const Table& t, const uint32_t* slots, typename Coder::State* state, size_t& bank,
               size_t steps, const uint8_t*& p, uint8_t* out) {
    if constexpr (sizeof(typename Coder::State) == 2) {
        if (k.fast_steps) return k.fast_steps(t, state, bank, steps, p, out);
    } else {
        if (k.dense_steps) return k.dense_steps(t, state, bank, steps, p, out);
    }
    decode_steps_portable<Coder>(slots, state, bank, steps, p, out);
}

// A table for one symbol after the other: a comparison and one load say all of a slot.
struct BucketTable {
    int bucket_bits = 0;
    uint16_t own[256];
    uint32_t of[256][2];  // of the bucket's own slots and its alias's: byte | frequency << 8 | what a rank is beyond the offset << 20

    template <class Coder>
    void make(const Table& t) {
        bucket_bits = t.bucket_bits;
        for (size_t b = 0; b < size_t(1) << bucket_bits; b++) {
            own[b] = t.own[b];
            of[b][0] = entry(t, b, 0);
            of[b][1] = entry(t, t.alias[b], t.adjust[b]);
        }
    }

private:
    static uint32_t entry(const Table& t, size_t symbol, uint32_t adjust) {
        return uint8_t(t.first + symbol - 1) | uint32_t(t.frequency[symbol]) << 8 | adjust << 20;
    }
};
constexpr size_t kWorthBuckets = 512;  // symbols of a table from which on it is

// Decodes steps of a few lanes; a unit for each of their symbols is readable. Lanes go on side by side.
template <class Coder, size_t lanes>
void few_lane_steps(const BucketTable& t, typename Coder::State* state, size_t steps, const uint8_t*& units, uint8_t* out) {
    constexpr uint32_t mask = (1u << Coder::prob_bits) - 1;
    const int shift = Coder::prob_bits - t.bucket_bits;
    const uint32_t within = (1u << shift) - 1;
    const uint8_t* p = units;
    uint32_t x[lanes];
    std::copy(state, state + lanes, x);
    for (; steps > 0; steps--, out += lanes) {
        for (size_t j = 0; j < lanes; j++) {
            const uint32_t slot = x[j] & mask, bucket = slot >> shift, offset = slot & within;
            const uint32_t e = t.of[bucket][offset >= t.own[bucket]];
            out[j] = uint8_t(e);
            x[j] = (e >> 8 & mask) * (x[j] >> Coder::prob_bits) + ((offset + (e >> 20)) & mask);
            typename Coder::Unit unit;
            std::memcpy(&unit, p, sizeof unit);
            const uint32_t need = x[j] < Coder::low;  // kept free of branches: a coin toss would be mispredicted
            x[j] = x[j] << (need * Coder::unit_bits) | (unit & (0u - need));
            p += need * sizeof unit;
        }
    }
    std::copy(x, x + lanes, state);
    units = p;
}

// Decodes all segments of a chunk into `out`; every bound is checked once per group of steps.
template <class Coder, size_t lanes>
Status decode_symbols(const Kernels& kernels, const Vec<Table>& tables, const Vec<uint32_t>& slots, const Grouping& g,
                      const Parts& parts, uint8_t* out) {
    using State = typename Coder::State;
    constexpr size_t step = lanes < size_t(kStep) ? lanes : size_t(kStep);
    alignas(64) State state[lanes];
    std::memcpy(state, parts.states, sizeof state);
    for (State x : state) TAUT_REQUIRE(x >= Coder::low, "state out of range");
    const uint8_t* p = parts.units;
    const uint8_t* end = p + parts.unit_size;
    size_t bank = 0;
    for (size_t t = 0; t < tables.size(); t++) {
        size_t left = g.count[t];
        BucketTable buckets;
        const bool few = lanes < size_t(kStep) && left >= kWorthBuckets;
        if (few) buckets.make<Coder>(tables[t]);
        while (left > 0) {
            // Each step takes at most one unit a lane: so many steps need no checks.
            const size_t safe = size_t(end - p) / (step * sizeof(typename Coder::Unit));
            const size_t steps = std::min(left / step, safe);
            if (steps > 0 && lanes >= size_t(kStep)) {
                const uint32_t* of = slots.empty() ? nullptr : slots.data() + (t << Coder::prob_bits);
                run_steps<Coder>(kernels, tables[t], of, state, bank, steps, p, out);
                out += steps * step;
                left -= steps * step;
                continue;
            }
            if (few && steps > 0) {
                few_lane_steps<Coder, step>(buckets, state, steps, p, out);
                out += steps * step;
                left -= steps * step;
                continue;
            }
            const size_t n = std::min(left, step);
            TAUT_REQUIRE(decode_step<Coder>(tables[t], state + bank, n, p, end, out), "symbols end early");
            bank = (bank + step) % lanes;
            out += n;
            left -= n;
        }
    }
    for (State x : state) TAUT_REQUIRE(x == Coder::low, "final state is wrong");
    TAUT_REQUIRE(p == end, "symbols left over");
    return {};
}

// Puts the tail's bytes where the escape was decoded. Tells whether a symbol may be an exception now.
Status patch_escapes(const Kernels& kernels, const Vec<Table>& tables, const Grouping& g, const Parts& parts, Memory& memory,
                     uint8_t* symbols, bool& exceptional) {
    uint64_t escapes = 0;
    exceptional = false;
    const auto each_segment = [&](auto&& act) {
        uint8_t* at = symbols;
        for (size_t t = 0; t < tables.size(); t++) {
            if (tables[t].frequency[0]) act(at, g.count[t], uint8_t(tables[t].first - 1));
            at += g.count[t];
        }
    };
    each_segment([&](uint8_t* s, size_t n, uint8_t mark) { escapes += count_bytes(kernels, s, n, mark); });
    for (const Table& t : tables) exceptional |= t.first + (1 << t.bucket_bits) > kException;
    if (escapes == 0) {
        TAUT_REQUIRE(!parts.tail_size, "a tail without escapes");
        return {};
    }
    Vec<uint8_t> tail(memory);
    TAUT_TRY(read_bytes(parts.tail, parts.tail_size, escapes, tail, kernels.dense_steps));
    const uint8_t* next = tail.data();
    each_segment([&](uint8_t* s, size_t n, uint8_t mark) {
        if (kernels.patch) {
            next = kernels.patch(s, n, mark, next);
            return;
        }
        for (size_t i = 0; i < n; i++)
            if (s[i] == mark) s[i] = *next++;
    });
    exceptional = exceptional || std::memchr(tail.data(), kException, tail.size());
    return {};
}

template <class T>
void merge_row(const Kernels* kernels, const SplitRule& rule, const uint8_t* symbols, const uint8_t* raw, size_t n,
               Exceptions& exceptions, uint8_t* out) {
    if (rule.skip_zero) return merge_sparse<T>(rule, symbols, raw, n, exceptions, out);
    size_t done = 0;
    if (kernels && kernels->merge) {
        done = kernels->merge(rule, sizeof(T), symbols, raw, n, out);
        if (!exceptions.used_up()) mend_exceptions<T>(rule, symbols, raw, done, exceptions, out);
    }
    merge_plain<T>(rule, symbols, raw, done, n, exceptions, out);
}

using MergeRow = void (*)(const Kernels*, const SplitRule&, const uint8_t*, const uint8_t*, size_t, Exceptions&,
                          uint8_t*);

MergeRow merge_for(int width) {
    switch (width) {
        case 1: return merge_row<uint8_t>;
        case 2: return merge_row<uint16_t>;
        case 4: return merge_row<uint32_t>;
        default: return merge_row<uint64_t>;
    }
}

// Wide kernels load past a row's raw bits: only the many-lane coders leave enough bytes behind them.
const Kernels* wide_kernels(const ArrayHeader& h, const Kernels& kernels) {
    return h.coder == CoderId::small ? nullptr : &kernels;
}

// The values of a uniform array's chunk.
Status put_levels(const ArrayHeader& h, const Kernels& kernels, const Span& span, const Grouping& g, const Parts& parts,
                  const uint8_t* symbols, uint8_t* out) {
    TAUT_REQUIRE(!parts.raw_size, "raw bits in a uniform array");
    Exceptions exceptions(parts.exceptions, parts.exception_size);
    const Kernels* wide = wide_kernels(h, kernels);
    const UniformRule rule = uniform_rule(h);
    const auto levels = level_table(rule, h.output);
    for (uint64_t r = 0; r < span.rows; r++) {
        const size_t n = span.length(h, r);
        const uint8_t* row = symbols + g.start[r];
        const size_t done = wide && wide->uniform ? wide->uniform(rule, h.output, row, n, out) : 0;
        look_up(h.width, levels.data(), row + done, n - done, out + done * h.width);
        if (!exceptions.used_up()) mend_uniform(rule, h.output, row, n, exceptions, out);
        out += n * h.width;
    }
    TAUT_REQUIRE(!exceptions.ended(), "exception list ends early");
    return {};
}

// The indices of a uniform array's chunk.
Status put_indices(const ArrayHeader& h, const Kernels&, const Span& span, const Grouping& g, const Parts& parts,
                   const uint8_t* symbols, uint8_t* out) {
    TAUT_REQUIRE(!parts.raw_size, "raw bits in a uniform array");
    Exceptions exceptions(parts.exceptions, parts.exception_size);
    for (uint64_t r = 0; r < span.rows; r++) {
        const size_t n = span.length(h, r);
        const uint8_t* row = symbols + g.start[r];
        for (size_t i = 0; i < n; i++)
            put(out, i, row[i] == kException ? exceptions.take<int32_t>() : int32_t(row[i]) - 128);
        out += n * sizeof(int32_t);
    }
    TAUT_REQUIRE(!exceptions.ended(), "exception list ends early");
    return {};
}

// The values of a split array's chunk.
Status merge_rows(const ArrayHeader& h, const Kernels& kernels, const Span& span, const Grouping& g, const Parts& parts,
                  const uint8_t* symbols, uint8_t* out) {
    Exceptions exceptions(parts.exceptions, parts.exception_size);
    const Kernels* wide = wide_kernels(h, kernels);
    const MergeRow merge = merge_for(h.width);
    const uint8_t* raw = parts.raw;
    size_t raw_left = parts.raw_size;
    SplitRule rule{h.mode, h.low, 0, (h.flags & kSkipZero) != 0, h.base};
    for (uint64_t r = 0; r < span.rows; r++) {
        const size_t n = span.length(h, r);
        const uint8_t* row = symbols + g.start[r];
        rule.drop = !h.rows.empty() && h.rows[span.first_row + r] & kDropRow ? h.drop : 0;
        size_t fields = n;
        if (rule.skip_zero) fields -= count_bytes(kernels, row, n, 0) + count_bytes(kernels, row, n, kMinusZero);
        const size_t size = (fields * size_t(rule.packed()) + 7) / 8;
        TAUT_REQUIRE(size <= raw_left, "raw bits end early");
        merge(wide, rule, row, raw, n, exceptions, out);
        raw += size;
        raw_left -= size;
        out += n * h.width;
    }
    TAUT_REQUIRE(!raw_left, "raw bits left over");
    TAUT_REQUIRE(!exceptions.ended(), "exception list ends early");
    return {};
}

}  // namespace

Status SplitDecoder::open(const ArrayHeader& h, const Kernels& kernels) {
    const bool fast = h.coder == CoderId::fast;
    const bool wide = fast ? kernels.fast_steps != nullptr : kernels.dense_steps != nullptr;
    if (wide || h.coder == CoderId::small) return {};
    const int bits = h.traits().prob_bits;
    TAUT_HAVE(slots_.try_resize_raw(h.tables.size() << bits));
    for (size_t t = 0; t < h.tables.size(); t++) {
        uint32_t* to = slots_.data() + (t << bits);
        make_slots(h.tables[t], bits, to);
    }
    return {};
}

Status SplitDecoder::decode_chunk(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes,
                                  uint8_t* out, Vec<uint8_t>& scratch, Put put) const {
    const uint64_t first_row = chunk * h.chunk_rows;
    const uint64_t rows = std::min(h.chunk_rows, h.row_count() - first_row);
    const uint64_t values = std::min(rows * h.row_length, h.count - first_row * h.row_length);
    const Span span{first_row, rows, values};
    if (h.kind == Kind::stored) {
        TAUT_REQUIRE(bytes.size == values * h.width, "stored chunk has the wrong length");
        std::memcpy(out, bytes.data, bytes.size);
        return {};
    }
    Parts parts{};
    TAUT_TRY(open_chunk(h, bytes, parts));
    Grouping g(memory_);
    TAUT_TRY(group_rows(h, span, g));
    if (scratch.size() < values + 64) {
        scratch.clear();  // nothing of it is worth a copy
        TAUT_HAVE(scratch.try_resize_raw(values + 64));
    }
    const auto decode = h.coder == CoderId::fast    ? decode_symbols<Fast, 128>
                        : h.coder == CoderId::dense ? decode_symbols<Dense, 64>
                                                    : decode_symbols<Dense, 4>;
    TAUT_TRY(decode(kernels, h.tables, slots_, g, parts, scratch.data()));
    bool maybe;
    TAUT_TRY(patch_escapes(kernels, h.tables, g, parts, memory_, scratch.data(), maybe));
    const size_t entry = h.kind == Kind::uniform ? sizeof(int32_t) : h.width;
    const uint64_t exceptional = maybe ? count_bytes(kernels, scratch.data(), values, kException) : 0;
    TAUT_REQUIRE(parts.exception_size == exceptional * entry, "exception list has the wrong length");
    const auto put_values = h.kind != Kind::uniform ? merge_rows : put == Put::values ? put_levels : put_indices;
    return put_values(h, kernels, span, g, parts, scratch.data(), out);
}

}  // namespace taut
