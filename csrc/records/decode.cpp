// Chunks of records.
#include <algorithm>

#include "base/bits.hpp"
#include "records/places.hpp"

namespace taut {
namespace {

// What all fields of a chunk are decoded with, one after the other.
struct RecordUnits {
    const uint8_t *p, *end;
    alignas(64) std::array<uint32_t, 64> state;
    size_t lanes, bank = 0;
};

// Symbols of one context.
Status decode_segment(const Kernels& kernels, const Table& table, const uint32_t* slots, RecordUnits& u, size_t n,
                      uint8_t* out) {
    while (n > 0) {
        if (u.lanes == size_t(kStep)) {
            // Each symbol takes at most one unit: so many steps need no checks.
            const size_t steps = std::min(n / kStep, size_t(u.end - u.p) / (2 * kStep));
            if (steps) {
                if (kernels.dense_steps) kernels.dense_steps(table, u.state.data(), u.bank, steps, u.p, out);
                else decode_steps_portable<Dense>(slots, u.state.data(), u.bank, steps, u.p, out);
                out += steps * kStep;
                n -= steps * kStep;
                continue;
            }
        }
        const size_t step = std::min(n, u.lanes);
        TAUT_REQUIRE(decode_step<Dense>(table, u.state.data(), step, u.p, u.end, out), "symbols end early");
        out += step;
        n -= step;
    }
    return {};
}

// Raw symbols of fewer than eight bits, one a byte.
void unpack_symbols(const uint8_t* raw, size_t size, size_t n, int width, uint8_t* out) {
    BitReader bits(raw, size);
    for (size_t i = 0; i < n; i++) out[i] = uint8_t(bits.get(width));
}

// One field of a chunk.
class FieldOfChunk {
public:
    FieldOfChunk(const ArrayHeader& h, const RecordField& f, const FieldPlaces& places, size_t records, Memory& memory)
        : h_(h), f_(f), places_(places), records_(records), groups_(f.groups()), inner_(f.inner()), context_(memory) {}

    size_t symbols() const { return records_ * groups_ * inner_; }

    // `raw` moves on over what the field takes of it.
    Status take_raw(ByteReader& raw, uint8_t* scratch) {
        const size_t size = (symbols() * size_t(f_.width()) + 7) / 8;
        const uint8_t* bytes = raw.take(size);
        TAUT_REQUIRE(bytes, "raw bits end early");
        at_[0] = f_.width() == 8 ? bytes : scratch;
        if (f_.width() != 8) unpack_symbols(bytes, size, symbols(), f_.width(), scratch);
        return {};
    }

    Status decode(const Kernels& kernels, const uint32_t* slots, const uint8_t* const* kept, RecordUnits& u,
                  uint8_t* scratch) {
        std::array<size_t, kMaxRecordContexts> count{};
        if (f_.contexts == 1) {
            count[0] = records_ * groups_;
        } else {
            TAUT_HAVE(context_.try_resize_raw(records_ * groups_));
            const RecordContexts contexts(h_.records, f_, kept);
            contexts.each(records_, [&](size_t group, uint8_t bucket) {
                const uint8_t c = f_.map[bucket];
                context_[group] = c;
                count[c]++;
            });
        }
        for (size_t c = 0; c < f_.contexts; c++) {
            at_[c] = scratch;
            const size_t table = f_.first_table + c, n = count[c] * inner_;
            TAUT_TRY(decode_segment(kernels, h_.tables[table], slots ? slots + (table << Dense::prob_bits) : nullptr, u, n,
                                    scratch));
            scratch += n;
        }
        return {};
    }

    // Puts the symbols to their places; `kept` takes them in the order of the records, where a later field needs them.
    void put(uint8_t* out, uint8_t* kept) {
        const Placing placing = placing_of(f_);
        if (f_.symbols() == 1 && f_.pieces == 1 && f_.width() == 8) return put_bytes(out, kept);
        switch (kept ? 0 : inner_) {
            case 4: return put_groups<4>(placing, out, kept);
            case 8: return put_groups<8>(placing, out, kept);
            case 16: return put_groups<16>(placing, out, kept);
            case 32: return put_groups<32>(placing, out, kept);
            default: return put_groups<0>(placing, out, kept);
        }
    }

private:
    // act(group in its record, its symbols, the record) for each group in order.
    template <class Act>
    void each_group(uint8_t* out, const Act& act) {
        const size_t record = h_.records.record, inner = inner_, groups = groups_;
        if (context_.empty()) {
            const uint8_t* s = at_[0];
            for (size_t r = 0; r < records_; r++, out += record)
                for (size_t g = 0; g < groups; g++, s += inner) act(g, s, out);
            return;
        }
        std::array<const uint8_t*, kMaxRecordContexts> at = at_;
        const uint8_t* context = context_.data();
        for (size_t r = 0; r < records_; r++, out += record)
            for (size_t g = 0; g < groups; g++) {
                const uint8_t*& s = at[*context++];
                act(g, s, out);
                s += inner;
            }
    }

    // A byte of each record.
    void put_bytes(uint8_t* out, uint8_t* kept) {
        const size_t place = places_.group[0] / 8u;
        if (kept)
            each_group(out, [&](size_t, const uint8_t* s, uint8_t* record) { record[place] = *kept++ = *s; });
        else
            each_group(out, [&](size_t, const uint8_t* s, uint8_t* record) { record[place] = *s; });
    }

    template <size_t n>
    void put_groups(Placing placing, uint8_t* out, uint8_t* kept) {
        const RecordField f = f_;  // of which nothing is written meanwhile
        const FieldPlaces places = places_;
        const size_t inner = inner_;
        each_group(out, [&](size_t g, const uint8_t* s, uint8_t* record) {
            put_group<n>(f, placing, places, g, inner, s, record);
            if (n || !kept) return;
            std::memcpy(kept, s, inner);
            kept += inner;
        });
    }

    const ArrayHeader& h_;
    const RecordField& f_;
    FieldPlaces places_;
    size_t records_, groups_, inner_;
    Vec<uint8_t> context_;                               // of each group
    std::array<const uint8_t*, kMaxRecordContexts> at_{};  // the next symbol of each context
};

// Room for what later fields need.
Status make_room(const RecordsFields& records, size_t count, Vec<uint8_t>& room,
                 std::array<uint8_t*, kMaxRecordFields>& kept) {
    const uint32_t wanted = kept_fields(records);
    size_t size = 0;
    for (int pass = 0; pass < 2; pass++) {
        size = 0;
        for (size_t f = 0; f < records.fields.size(); f++)
            if (wanted >> f & 1) {
                if (pass) kept[f] = room.data() + size;
                size += records.fields[f].symbols() * count;
            }
        if (!pass) TAUT_HAVE(room.try_resize_raw(size));
    }
    return {};
}

}  // namespace

Status RecordsDecoder::open(const ArrayHeader& h, const Kernels& kernels) {
    for (const RecordField& f : h.records.fields)
        for (int part = 0; part < 2; part++) {
            const size_t from = part ? f.outer : 0, to = part ? f.loops : f.outer;
            TAUT_HAVE(places_.try_reserve(places_.size() + (part ? f.inner() : f.groups()) * f.pieces));
            bool room = true;
            each_place(f, from, to, [&](const std::array<uint32_t, 8>& bits) {
                for (size_t p = 0; p < f.pieces; p++)
                    room = places_.try_push(uint16_t(bits[p] + (part ? 0 : f.piece[p].offset))) && room;
            });
            TAUT_HAVE(room);
        }
    if (kernels.dense_steps || h.coder == CoderId::small) return {};
    TAUT_HAVE(slots_.try_resize_raw(h.tables.size() << Dense::prob_bits));
    for (size_t t = 0; t < h.tables.size(); t++) make_slots(h.tables[t], Dense::prob_bits, slots_.data() + (t << Dense::prob_bits));
    return {};
}

Status RecordsDecoder::decode_chunk(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes,
                                    uint8_t* out, Vec<uint8_t>& scratch) const {
    const uint64_t each = h.chunk_rows * h.row_length, size = std::min(each, h.count - chunk * each);
    const size_t records = size_t(size / h.records.record);
    ByteReader in(bytes.data, bytes.size);
    const uint64_t units = in.varint();
    RecordUnits u{};
    u.lanes = h.coder == CoderId::small ? 4 : 64;
    const size_t states = u.lanes * sizeof(uint32_t), left = in.left();
    TAUT_TRY(in.status());
    TAUT_REQUIRE(states <= left && units <= left - states, "parts are longer than the chunk");
    ByteReader raw(in.take(left - states - units), size_t(left - states - units));
    u.p = in.take(units);
    u.end = u.p + units;
    std::memcpy(u.state.data(), in.take(states), states);
    for (size_t i = 0; i < u.lanes; i++) TAUT_REQUIRE(u.state[i] >= Dense::low, "state out of range");
    std::array<uint8_t*, kMaxRecordFields> kept{};
    Vec<uint8_t> room(memory_);
    TAUT_TRY(make_room(h.records, records, room, kept));
    std::memset(out, 0, size);
    const uint16_t* places = places_.data();
    for (size_t i = 0; i < h.records.fields.size(); i++) {
        const RecordField& f = h.records.fields[i];
        FieldOfChunk field(h, f, {places, places + f.groups() * f.pieces}, records, memory_);
        places += (f.groups() + f.inner()) * f.pieces;
        if (scratch.size() < field.symbols() + 64) {
            scratch.clear();
            TAUT_HAVE(scratch.try_resize_raw(field.symbols() + 64));
        }
        if (f.coded) TAUT_TRY(field.decode(kernels, slots_.empty() ? nullptr : slots_.data(), kept.data(), u, scratch.data()));
        else TAUT_TRY(field.take_raw(raw, scratch.data()));
        field.put(out, kept[i]);
    }
    TAUT_REQUIRE(!raw.left(), "raw bits left over");
    for (size_t i = 0; i < u.lanes; i++) TAUT_REQUIRE(u.state[i] == Dense::low, "final state is wrong");
    TAUT_REQUIRE(u.p == u.end, "symbols left over");
    return {};
}

}  // namespace taut
