// Symbols put to their places in a record.
#pragma once
#include "records/layout.hpp"

namespace taut {

// Of one field: bits at which its groups lie, piece by piece, and its symbols within a group.
struct FieldPlaces {
    const uint16_t *group, *inner;
};

// How the symbols of a group lie, for loops that know it.
enum class Placing : uint8_t { bytes, pairs, quads, pieces };

inline Placing placing_of(const RecordField& f) {
    if (f.loops - f.outer != 1) return Placing::pieces;
    const size_t l = f.outer;
    const RecordPiece* p = f.piece.data();
    if (f.pieces == 1) return p[0].width == 8 && p[0].stride[l] == 8 ? Placing::bytes : Placing::pieces;
    if (f.pieces != 2 && f.pieces != 4) return Placing::pieces;
    for (size_t k = 0; k < f.pieces; k++)
        if (p[k].width != p[0].width || p[k].stride[l] != 8 * f.pieces || p[k].offset != p[0].offset + 8 * k)
            return Placing::pieces;
    for (size_t g = 0; g < f.outer; g++)
        for (size_t k = 1; k < f.pieces; k++)
            if (p[k].stride[g] != p[0].stride[g]) return Placing::pieces;
    return f.pieces == 2 ? Placing::pairs : Placing::quads;
}

// The symbols of one group into a record whose bits are zero so far; `n` of them, where that is known here.
template <size_t n>
inline void put_group(const RecordField& f, Placing placing, const FieldPlaces& places, size_t group, size_t symbols,
                      const uint8_t* __restrict s, uint8_t* __restrict record) {
    const size_t inner = n ? n : symbols;
    const uint16_t* const at = places.group + group * f.pieces;
    if (placing == Placing::bytes) {
        std::memcpy(record + at[0] / 8, s, inner);
        return;
    }
    const unsigned w = f.piece[0].width, mask = (1u << w) - 1, up = at[0] % 8;
    uint8_t* const to = record + at[0] / 8;
    if (placing == Placing::pairs) {
        for (size_t j = 0; j < inner; j++) {
            uint16_t v;
            std::memcpy(&v, to + 2 * j, 2);
            v = uint16_t(v | ((s[j] & mask) | (unsigned(s[j]) >> w << 8)) << up);
            std::memcpy(to + 2 * j, &v, 2);
        }
        return;
    }
    if (placing == Placing::quads) {
        for (size_t j = 0; j < inner; j++) {
            uint32_t v;
            const uint32_t b = s[j];
            std::memcpy(&v, to + 4 * j, 4);
            v |= ((b & mask) | (b >> w & mask) << 8 | (b >> 2 * w & mask) << 16 | (b >> 3 * w & mask) << 24) << up;
            std::memcpy(to + 4 * j, &v, 4);
        }
        return;
    }
    unsigned down = 0;
    for (size_t p = 0; p < f.pieces; p++) {
        const unsigned width = f.piece[p].width, part = (1u << width) - 1;
        const unsigned stride = f.loops - f.outer == 1 ? f.piece[p].stride[f.outer] : 0;
        uint8_t* const byte = record + at[p] / 8;
        const unsigned bit = at[p] % 8;
        if (stride == 8) {
            for (size_t j = 0; j < inner; j++) byte[j] = uint8_t(byte[j] | (s[j] >> down & part) << bit);
        } else if (stride == 16) {
            for (size_t j = 0; j < inner; j++) byte[2 * j] = uint8_t(byte[2 * j] | (s[j] >> down & part) << bit);
        } else if (stride == 1 && width == 1 && bit == 0 && inner % 8 == 0) {
            for (size_t j = 0; j < inner; j += 8)  // the product brings bit 0 of byte i to bit 56 + i
                byte[j / 8] = uint8_t((load64(s + j) >> down & 0x0101010101010101u) * 0x0102040810204080u >> 56);
        } else {
            const uint16_t* const places_in = places.inner + p;
            for (size_t j = 0; j < inner; j++) {
                const unsigned to_bit = at[p] + places_in[j * f.pieces];
                record[to_bit / 8] = uint8_t(record[to_bit / 8] | (s[j] >> down & part) << to_bit % 8);
            }
        }
        down += width;
    }
}

}  // namespace taut
