// What an array's tables become before its chunks are decoded: what shuffles look up, or slots.
#include <algorithm>

#include "matrix/basis.hpp"
#include "matrix/layout.hpp"

namespace taut {
namespace {

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

}  // namespace

MatrixDecoder::MatrixDecoder(Memory& memory)
    : memory_(memory), column_scale_(memory), lookup_(memory), slots_(memory), basis_(memory) {}
MatrixDecoder::~MatrixDecoder() = default;

Status MatrixDecoder::open(const ArrayHeader& h, const Kernels& kernels) {
    const MatrixFields& m = h.matrix;
    TAUT_HAVE(column_scale_.try_assign(h.row_length, 1.0f));
    for (size_t c = 0; c < m.column_exponents.size(); c++)
        column_scale_[c] = exponent_scale(m.column_exponents[c], m.column_fraction);
    if (!m.basis.empty()) TAUT_TRY(read_basis(m.basis, h.row_length, kernels, memory_, basis_));
    TAUT_TRY(make_lookup(h.tables, m.trellis, h.traits(), lookup_));
    const bool fast = h.coder == CoderId::fast;
    const bool wide = (fast && kernels.matrix_fast) || (h.coder == CoderId::dense && kernels.matrix_dense);
    // Slots must be worth making.
    if (wide || h.count < 1024 * h.tables.size()) return {};
    const int bits = h.traits().prob_bits;
    TAUT_HAVE(slots_.try_resize_raw(h.tables.size() << bits));
    for (size_t i = 0; i < h.tables.size(); i++) {
        uint32_t* to = slots_.data() + (i << bits);
        make_slots(h.tables[i], bits, to);
    }
    return {};
}

}  // namespace taut
