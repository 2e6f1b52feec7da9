// Products of matrices, packed: c += a^T b, each sum from the first row to the last and without fused additions.
#pragma once
#include <cstring>

#include "round/tile.hpp"

namespace taut {
namespace {

// `depth` rows of `b`, `width` columns wide, as spans of kSpan columns; columns beyond are zeros.
TAUT_INLINE void pack_rows(const float* b, size_t stride, size_t depth, size_t width, float* packed) {
    for (size_t k = 0; k < depth; k++) {
        const float* row = b + k * stride;
        for (size_t span = 0; span < kTileColumns / kSpan; span++) {
            float* to = packed + (span * depth + k) * kSpan;
            const size_t from = span * kSpan, n = width > from ? (width - from < kSpan ? width - from : kSpan) : 0;
            if (n == kSpan) std::memcpy(to, row + from, kSpan * sizeof(float));
            else
                for (size_t l = 0; l < kSpan; l++) to[l] = l < n ? row[from + l] : 0.f;
        }
    }
}

// kTall rows times kWide vectors of c, in registers.
template <class Vec, int kTall, int kWide>
TAUT_INLINE void product(const float* a, const float* b, size_t depth, float* c) {
    Vec sums[kTall][kWide];
    for (int i = 0; i < kTall; i++)
        for (int j = 0; j < kWide; j++) sums[i][j] = Vec::load(c + size_t(i) * kTileColumns + size_t(j) * Vec::kLanes);
    for (size_t k = 0; k < depth; k++, a += kStrip, b += kSpan) {
        Vec row[kWide];
        for (int j = 0; j < kWide; j++) row[j] = Vec::load(b + size_t(j) * Vec::kLanes);
        for (int i = 0; i < kTall; i++) {
            const Vec share(a[i]);
            for (int j = 0; j < kWide; j++) sums[i][j] = sums[i][j] + share * row[j];
        }
    }
    for (int i = 0; i < kTall; i++)
        for (int j = 0; j < kWide; j++) sums[i][j].store(c + size_t(i) * kTileColumns + size_t(j) * Vec::kLanes);
}

// c (kTileColumns wide) gets the product of strips of a, `stride` floats apart, and packed rows of b.
template <class Vec, int kTall, int kWide>
void add_product(const float* a, size_t stride, size_t strips, const float* packed, size_t depth, float* c) {
    static_assert(kStrip % kTall == 0 && kSpan % (kWide * Vec::kLanes) == 0);
    for (size_t span = 0; span < kTileColumns / kSpan; span++)
        for (size_t strip = 0; strip < strips; strip++)
            for (size_t j = 0; j < kSpan; j += kWide * Vec::kLanes)
                for (size_t i = 0; i < kStrip; i += kTall)
                    product<Vec, kTall, kWide>(a + strip * stride + i, packed + span * depth * kSpan + j, depth,
                                               c + (strip * kStrip + i) * kTileColumns + span * kSpan + j);
}

}  // namespace
}  // namespace taut
