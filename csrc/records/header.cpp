// Headers of arrays of records, from bytes.
#include <algorithm>

#include "records/layout.hpp"

namespace taut {
namespace {

// Frequencies of elements: the first and the last that occur, and Rice codes of the differences between neighbours.
bool read_elements(BitReader& in, int bits, std::array<uint16_t, 256>& frequency) {
    frequency.fill(0);
    const size_t first = in.get(8), last = in.get(8);
    const int k = int(in.get(4));
    if (first > last || last >> bits || k > 12) return false;
    int value = 0;
    uint32_t sum = 0;
    for (size_t s = first; s <= last; s++) {
        const uint32_t quotient = in.ones(kMaxQuotient);
        if (quotient > kMaxQuotient) return false;
        const uint32_t z = quotient << k | uint32_t(in.get(k));
        value += int(z >> 1 ^ (~(z & 1) + 1));
        if (value < 0 || value >= 1 << Dense::prob_bits) return false;
        frequency[s] = uint16_t(value);
        sum += uint32_t(value);
    }
    return in.ok() && sum == 1u << Dense::prob_bits;
}

Status read_contexts(ByteReader& in, RecordField& f, size_t& tables) {
    const uint8_t mode = in.byte();
    TAUT_REQUIRE(mode <= 1, "array header: a field coded in an unknown way");
    f.coded = mode == 1;
    if (!f.coded) return {};
    f.contexts = in.byte();
    TAUT_REQUIRE(f.contexts >= 1 && f.contexts <= kMaxRecordContexts, "array header: no or too many contexts");
    TAUT_REQUIRE(f.contexts == 1 || f.buckets > 1, "array header: contexts without buckets");
    f.first_table = uint16_t(tables);
    tables += f.contexts;
    if (f.contexts == 1) return {};
    const uint64_t base = in.varint();
    TAUT_REQUIRE(base <= 0xffffffffu, "array header: a bucket out of range");
    f.base = int32_t(uint32_t(base) >> 1 ^ (0u - (uint32_t(base) & 1)));
    const uint8_t* map = in.take(f.buckets);
    TAUT_TRY(in.status());
    std::memcpy(f.map.data(), map, f.buckets);
    for (size_t b = 0; b < f.buckets; b++) TAUT_REQUIRE(f.map[b] < f.contexts, "array header: a context without a table");
    return {};
}

}  // namespace

Status read_records_fields(ByteReader& in, ArrayHeader& h) {
    RecordsFields& records = h.records;
    TAUT_REQUIRE(h.width == 1, "array header: records are bytes");
    const uint8_t coder = in.byte();
    TAUT_TRY(in.status());
    TAUT_REQUIRE(coder == uint8_t(CoderId::dense) || coder == uint8_t(CoderId::small), "array header: unknown coder");
    h.coder = CoderId(coder);
    const uint64_t size = in.varint();
    const uint8_t* layout = in.take(size);
    TAUT_TRY(in.status());
    TAUT_TRY(read_layout({layout, size_t(size)}, records, records.fields.memory()));
    TAUT_REQUIRE(h.row_length % records.record == 0 && h.count % records.record == 0, "array header: no whole records");
    size_t tables = 0;
    for (RecordField& f : records.fields) TAUT_TRY(read_contexts(in, f, tables));
    TAUT_TRY(in.status());
    TAUT_HAVE(h.tables.try_resize(tables));
    const size_t left = in.left();
    BitReader bits(in.take(left), left);
    std::array<uint16_t, 256> elements;
    for (const RecordField& f : records.fields)
        for (size_t c = 0; f.coded && c < f.contexts; c++) {
            TAUT_REQUIRE(read_elements(bits, f.bits, elements), "array header: broken table");
            TAUT_TRY(make_record_table(f, elements, h.tables[f.first_table + c]));
        }
    TAUT_REQUIRE(bits.at_end(), "array header: bytes left over");
    return {};
}

}  // namespace taut
