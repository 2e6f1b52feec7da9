// The header of a matrix to bytes.
#include <algorithm>
#include <cmath>

#include "matrix/layout.hpp"

namespace taut {
namespace {

void put_stream(std::vector<uint8_t>& out, const Vec<uint8_t>& bytes) {
    const std::vector<uint8_t> coded = write_short({bytes.begin(), bytes.end()});
    put_varint(out, coded.size());
    out.insert(out.end(), coded.begin(), coded.end());
}

// Offsets that are 128ths take a byte each.
bool byte_offsets(const ArrayHeader& h) {
    return std::all_of(h.offsets.begin(), h.offsets.end(), [](float o) {
        const float n = o * 128;
        return n >= -127 && n <= 127 && n == float(int(n)) && !(n == 0 && std::signbit(n));
    });
}

uint8_t flags_of(const ArrayHeader& h) {
    const MatrixFields& m = h.matrix;
    uint8_t flags = m.trellis ? kTrellis : 0;
    const bool none = std::all_of(h.offsets.begin(), h.offsets.end(), [](float o) { return o == 0; });
    if (!none) flags |= byte_offsets(h) ? kByteOffsets : kFloatOffsets;
    if (!m.row_exponents.empty()) flags |= kRows;
    if (!m.column_exponents.empty()) flags |= kColumns;
    if (!m.row_classes.empty()) flags |= kRowClasses;
    if (!m.column_classes.empty()) flags |= kColumnClasses;
    if (!m.basis.empty()) flags |= kBasis;
    return flags;
}

}  // namespace

std::vector<uint8_t> write_short(const std::vector<uint8_t>& bytes) {
    std::vector<uint8_t> best = write_bytes(bytes);
    if (bytes.size() < 2 || best.size() <= 3) return best;
    std::vector<uint8_t> sorted = bytes;
    std::nth_element(sorted.begin(), sorted.begin() + ptrdiff_t(sorted.size() / 2), sorted.end());
    const uint8_t middle = sorted[sorted.size() / 2];
    for (int k = 0; k <= kMaxRice; k++) {
        BitWriter out;
        out.put(middle, 8);
        out.put(uint64_t(k), 3);
        bool fits = true;
        for (uint8_t b : bytes) {
            const uint32_t z = zigzag(int(b) - int(middle)), ones = z >> k;
            fits &= ones <= uint32_t(kMaxOnes);
            if (!fits) break;
            out.put((uint64_t(1) << ones) - 1, int(ones) + 1);
            out.put(z & ((1u << k) - 1), k);
        }
        std::vector<uint8_t> coded = out.finish();
        if (!fits || coded.size() + 1 >= best.size()) continue;
        coded.insert(coded.begin(), kRice);
        best = std::move(coded);
    }
    return best;
}

void set_basis(MatrixSpec& spec, ConstBytes header, ConstBytes chunk) {
    std::vector<uint8_t> all;
    put_varint(all, header.size);
    all.insert(all.end(), header.data, header.data + header.size);
    all.insert(all.end(), chunk.data, chunk.data + chunk.size);
    spec.fields.basis.assign(all.data(), all.data() + all.size());
}

std::vector<uint8_t> write_matrix_header(const ArrayHeader& h) {
    std::vector<uint8_t> out = begin_header(h);
    const MatrixFields& m = h.matrix;
    const uint8_t flags = flags_of(h);
    out.push_back(uint8_t(h.coder));
    out.push_back(uint8_t(h.output));
    out.push_back(flags);
    out.push_back(uint8_t(m.row_fraction | m.column_fraction << 4));
    put_raw(out, h.step);
    for (float offset : h.offsets) {
        if (flags & kByteOffsets) out.push_back(uint8_t(int8_t(offset * 128)));
        if (flags & kFloatOffsets) put_raw(out, offset);
    }
    if (flags & kRows) put_stream(out, m.row_exponents);
    if (flags & kColumns) put_stream(out, m.column_exponents);
    if (flags & kRowClasses) put_stream(out, m.row_classes);
    if (flags & kColumnClasses) put_stream(out, m.column_classes);
    if (flags & (kRowClasses | kColumnClasses)) put_stream(out, m.map);
    if (flags & kBasis) {
        put_varint(out, m.basis.size());
        out.insert(out.end(), m.basis.begin(), m.basis.end());
    }
    out.insert(out.end(), m.coded_tables.begin(), m.coded_tables.end());
    return out;
}

}  // namespace taut
