#include "records/layout.hpp"

#include <algorithm>
#include <bit>

namespace taut {
namespace {

constexpr size_t kMaxBits = kMaxRecord * 8;

uint16_t small(ByteReader& in, uint64_t most, bool& fits) {
    const uint64_t v = in.varint();
    fits = fits && v <= most;
    return uint16_t(v <= most ? v : 0);
}

Status read_signed(ByteReader& in, int32_t& v) {
    const uint64_t z = in.varint();
    TAUT_REQUIRE(z <= 0x1ffff, "layout: a coefficient out of range");
    v = int32_t(z >> 1) ^ -int32_t(z & 1);
    return {};
}

Status read_loops(ByteReader& in, RecordField& f) {
    f.bits = in.byte();
    f.elements = in.byte();
    TAUT_REQUIRE(f.bits >= 1 && f.elements >= 1 && f.elements <= 4 && f.bits * f.elements <= 8, "layout: symbols of no or too many bits");
    f.loops = in.byte();
    f.outer = in.byte();
    TAUT_REQUIRE(f.loops <= 6 && f.outer <= f.loops, "layout: too many loops");
    bool fits = true;
    size_t symbols = 1;
    for (size_t l = 0; l < f.loops; l++) {
        f.counts[l] = small(in, kMaxBits, fits);
        TAUT_REQUIRE(fits && f.counts[l] >= 1, "layout: a loop of no or too many rounds");
        symbols *= f.counts[l];
        TAUT_REQUIRE(symbols <= kMaxBits, "layout: more symbols than bits");
    }
    return {};
}

Status read_pieces(ByteReader& in, RecordField& f) {
    f.pieces = in.byte();
    TAUT_REQUIRE(f.pieces >= 1 && f.pieces <= 8, "layout: no or too many pieces");
    bool fits = true;
    int width = 0;
    for (size_t p = 0; p < f.pieces; p++) {
        RecordPiece& piece = f.piece[p];
        piece.offset = small(in, kMaxBits - 1, fits);
        piece.width = in.byte();
        TAUT_REQUIRE(piece.width >= 1 && piece.width <= 8, "layout: a piece of no or too many bits");
        width += piece.width;
        for (size_t l = 0; l < f.loops; l++) piece.stride[l] = small(in, kMaxBits - 1, fits);
    }
    TAUT_REQUIRE(fits, "layout: a piece lies outside of a record");
    TAUT_REQUIRE(width == f.width(), "layout: pieces do not make a symbol");
    return {};
}

Status read_terms(ByteReader& in, const RecordsFields& records, RecordField& f) {
    f.terms = in.byte();
    TAUT_REQUIRE(f.terms <= 8, "layout: too many terms");
    for (size_t t = 0; t < f.terms; t++) {
        RecordTerm& term = f.term[t];
        term.source = in.byte();
        term.function = in.byte();
        TAUT_TRY(read_signed(in, term.coefficient));
        TAUT_REQUIRE(term.function <= 4, "layout: unknown function");
        if (term.source == kGroupNumber) {
            TAUT_REQUIRE(f.groups() <= 256, "layout: more groups than a term can tell");
            continue;
        }
        TAUT_REQUIRE(term.source < records.fields.size(), "layout: a term of a field that is not before it");
        const RecordField& from = records.fields[term.source];
        TAUT_REQUIRE(from.elements == 1 && (from.symbols() == 1 || from.symbols() == f.groups()),
                     "layout: a term that does not fit the groups");
    }
    f.shift = in.byte();
    f.buckets = in.byte();
    TAUT_REQUIRE(f.shift <= 30 && f.buckets >= 1 && f.buckets <= 64, "layout: no or too many buckets");
    TAUT_REQUIRE(f.terms || f.buckets == 1, "layout: buckets without terms");
    return {};
}

// Marks the bits of a field in a record; false where they lie outside of it, across bytes, or on others'.
bool mark(const RecordField& f, size_t record, uint8_t* marks) {
    bool good = true;
    each_place(f, 0, f.loops, [&](const std::array<uint32_t, 8>& bits) {
        for (size_t p = 0; p < f.pieces; p++) {
            const size_t at = f.piece[p].offset + bits[p];
            if (at / 8 >= record || at % 8 + f.piece[p].width > 8) {
                good = false;
                return;
            }
            const uint8_t mask = uint8_t(((1u << f.piece[p].width) - 1) << at % 8);
            good = good && !(marks[at / 8] & mask);
            marks[at / 8] |= mask;
        }
    });
    return good;
}

int32_t log_of(uint32_t v) {
    if (v == 0) return -1024;
    const int whole = int(std::bit_width(v)) - 1;
    return 1024 * whole + int32_t((v << 10) >> whole) - 1024;
}

}  // namespace

Status read_layout(ConstBytes layout, RecordsFields& records, Memory& memory) {
    ByteReader in(layout.data, layout.size);
    bool fits = true;
    records.record = small(in, kMaxRecord, fits);
    const size_t count = in.byte();
    TAUT_TRY(in.status());
    TAUT_REQUIRE(fits && records.record >= 1, "layout: a record of no or too many bytes");
    TAUT_REQUIRE(count >= 1 && count <= kMaxRecordFields, "layout: no or too many fields");
    Vec<uint8_t> marks(memory);
    TAUT_HAVE(marks.try_assign(records.record, 0));
    TAUT_HAVE(records.fields.try_reserve(count));
    for (size_t i = 0; i < count; i++) {
        RecordField f;
        TAUT_TRY(read_loops(in, f));
        TAUT_TRY(read_pieces(in, f));
        TAUT_TRY(read_terms(in, records, f));
        TAUT_TRY(in.status());
        TAUT_REQUIRE(mark(f, records.record, marks.data()), "layout: bits outside of a record, across bytes, or named twice");
        TAUT_HAVE(records.fields.try_push(f));
    }
    TAUT_REQUIRE(in.left() == 0, "layout: bytes left over");
    for (uint8_t m : marks) TAUT_REQUIRE(m == 255, "layout: bits of no field");
    return {};
}

Status make_record_table(const RecordField& field, const std::array<uint16_t, 256>& elements, Table& table) {
    constexpr uint64_t whole = uint64_t(1) << Dense::prob_bits;
    const size_t symbols = size_t(1) << field.width(), mask = (size_t(1) << field.bits) - 1;
    const int more = (field.elements - 1) * Dense::prob_bits;  // bits of a product beyond those of a frequency
    table = Table{};
    table.bucket_bits = std::max(kDense.min_bucket_bits, field.width());
    table.first = 1;  // local symbol s is the byte s: there is no escape
    int64_t over = -int64_t(whole);
    size_t largest = 0;
    uint64_t most = 0;
    for (size_t s = 0; s < symbols; s++) {
        uint64_t weight = 1;
        for (int k = 0; k < field.elements; k++) weight *= elements[s >> (k * field.bits) & mask];
        const uint64_t rounded = more ? (weight + (uint64_t(1) << (more - 1))) >> more : weight;
        table.frequency[s] = uint16_t(weight ? std::max<uint64_t>(1, rounded) : 0);
        over += table.frequency[s];
        if (weight > most) most = weight, largest = s;
    }
    if (over < 0) table.frequency[largest] = uint16_t(table.frequency[largest] - over);
    for (int floor : {16, 1})
        for (bool some = true; over > 0 && some;) {
            some = false;
            for (size_t s = 0; s < symbols && over > 0; s++)
                if (table.frequency[s] > floor) table.frequency[s]--, over--, some = true;
        }
    TAUT_REQUIRE(most && table.frequency[largest] < whole, "array header: a table of a single symbol");
    build_alias(table, Dense::prob_bits);
    return {};
}

int32_t record_function(uint8_t function, int bits, uint32_t value) {
    const uint32_t top = 1u << (bits - 1);
    switch (function) {
        case 0: return int32_t(value);
        case 1: return int32_t(value & (top - 1));
        case 2: return log_of(value);
        case 3: return log_of(value > top ? value - top : top - value);
        default: return log_of(value < top ? value : 2 * top - value);
    }
}

RecordContexts::RecordContexts(const RecordsFields& records, const RecordField& field, const uint8_t* const* kept)
    : groups_(field.groups()), shift_(field.shift), base_(field.base), last_(field.buckets - 1) {
    for (int pass = 0; pass < 2; pass++)  // those of whole records, then those of groups
        for (size_t t = 0; t < field.terms; t++) {
            const RecordTerm& term = field.term[t];
            const bool number = term.source == kGroupNumber;
            const bool once = !number && records.fields[term.source].symbols() == 1;
            if (once == (pass == 1)) continue;
            const int bits = number ? 8 : records.fields[term.source].bits;
            for (uint32_t v = 0; v < 256; v++)
                look_[terms_][v] = v >> bits ? 0 : term.coefficient * record_function(term.function, bits, v);
            from_[terms_++] = number ? nullptr : kept[term.source];
            if (once) once_ = terms_;
        }
}

uint32_t kept_fields(const RecordsFields& records) {
    uint32_t kept = 0;
    for (const RecordField& f : records.fields)
        for (size_t t = 0; t < f.terms; t++)
            if (f.term[t].source != kGroupNumber) kept |= uint32_t(1) << f.term[t].source;
    return kept;
}

}  // namespace taut
