// Tiles that do not wait for each other, rounded together: a search waits for itself at every column, and another one
// goes on meanwhile. `Vec` has a lane for each state, `Wide` as many as the processor adds at once.
#pragma once
#include <algorithm>

#include "round/gemm.hpp"
#include "round/search.hpp"

namespace taut {
namespace {

template <class Vec, class Wide, int kTall, int kWide>
class TileRounder {
public:
    TileRounder(Workspace& space, size_t count) : space_(space), count_(count) {}

    void run() {
        size_t rows = 0;
        for (size_t n = 0; n < count_; n++) {
            prepare(tile(n));
            rows = std::max(rows, tile(n).row->count);
        }
        for (size_t i = 0; i < rows; i++) {
            Tile* active[kMost];
            size_t some = 0;
            for (size_t n = 0; n < count_; n++)
                if (i < tile(n).row->count) active[some++] = &tile(n);
            for (size_t n = 0; n < some; n++) {
                across(*active[n], i);
                begin_row(*active[n], i);
            }
            if (active[0]->spec->trellis) search(active, some, i);
            else
                for (size_t n = 0; n < some; n++) round_plainly(*active[n], i);
            for (size_t n = 0; n < some; n++) settle(*active[n], i);
        }
    }

    static constexpr size_t kMost = 8;

private:
    Tile& tile(size_t n) { return *space_.tiles[n]; }

    void add(const float* a, size_t stride, size_t strips, const float* packed, size_t depth, float* c) {
        add_product<Wide, kTall, kWide>(a, stride, strips, packed, depth, c);
    }

    // Copies W, and makes good what was lost outside of the tile: above in `wanted`, to the left in `feedback`.
    void prepare(Tile& t) {
        const RoundSpec& s = *t.spec;
        const TileRow& row = *t.row;
        for (size_t i = 0; i < row.strips * kStrip; i++) {
            float* to = t.wanted + i * kTileColumns;
            std::fill_n(to, kTileColumns, 0.f);
            if (i < row.count) std::copy_n(s.values + (row.first + i) * s.columns + t.begin, t.width, to);
        }
        if (s.rows_factor) {
            const size_t stride = (row.first + row.count) * kStrip;
            add_rows(row.shares.data(), stride, row.strips, s.errors + t.begin, row.first, t.width, t.wanted);
        }
        std::fill_n(t.feedback, row.strips * kStrip * kTileColumns, 0.f);
        if (s.columns_factor == nullptr) return;
        const float* factor = s.columns_factor + t.begin;
        add_rows(row.missed.data(), s.columns * kStrip, row.strips, factor, t.begin, t.width, t.feedback);
        for (size_t k = 0; k < t.width; k++)
            std::copy_n(factor + (t.begin + k) * s.columns, t.width, t.factor + k * kTileColumns);
    }

    // c += a^T b for `depth` rows of b, which lie a matrix's row apart.
    void add_rows(const float* a, size_t stride, size_t strips, const float* b, size_t depth, size_t width, float* c) {
        for (size_t k = 0; k < depth; k += kDepth) {
            const size_t some = std::min(kDepth, depth - k);
            pack_rows(b + k * tile(0).spec->columns, tile(0).spec->columns, some, width, space_.packed.data());
            add(a + k * kStrip, stride, strips, space_.packed.data(), some, c);
        }
    }

    // Errors of the tile's own rows above go to `wanted`: those of kStrip rows at once to all rows below these.
    void across(Tile& t, size_t i) {
        if (t.spec->rows_factor == nullptr) return;
        const TileRow& row = *t.row;
        const size_t stride = (row.first + row.count) * kStrip, strip = i / kStrip, within = i % kStrip;
        float* wanted = t.wanted + i * kTileColumns;
        if (within == 0 && i > 0)
            add(row.shares.data() + strip * stride + (row.first + i - kStrip) * kStrip, stride, row.strips - strip,
                t.errors, kStrip, wanted);
        for (size_t r = i - within; r < i; r++) {
            const float share = row.shares[strip * stride + (row.first + r) * kStrip + within];
            const float* error = t.errors + (r % kStrip) * kSpan;
            for (size_t span = 0; span < kTileColumns / kSpan; span++)
                for (size_t l = 0; l < kSpan; l++) wanted[span * kSpan + l] += share * error[span * kStrip * kSpan + l];
        }
    }

    void search(Tile** active, size_t some, size_t i) {
        Search<Vec> searches[kMost];
        size_t width = 0;
        for (size_t n = 0; n < some; n++) {
            searches[n].begin(*active[n], i);
            width = std::max(width, active[n]->width);
        }
        for (size_t from = 0; from < width; from += kEager) {
            for (size_t k = from; k < std::min(width, from + kEager); k++)
                for (size_t n = 0; n < some; n++)
                    if (k < searches[n].width()) searches[n].step(k, std::min(searches[n].width(), from + kEager));
            for (size_t n = 0; n < some; n++) searches[n].pass_on(from, from + kEager);
        }
        for (size_t n = 0; n < some; n++) searches[n].end();
    }

    // What the row's indices decode to, and what that leaves of W and of w'.
    static void settle(Tile& t, size_t i) {
        const RoundSpec& s = *t.spec;
        TileRow& row = *t.row;
        const size_t at = (row.first + i) * s.columns + t.begin;
        float values[kTileColumns], errors[kTileColumns] = {};
        const float step = s.row_steps[row.first + i];
        // + 0: of a negative zero's level zero.
        for (size_t k = 0; k < t.width; k++) values[k] = (t.row_levels[k] + 0.f) * step * s.column_scales[t.begin + k];
        if (s.rows_factor) {
            for (size_t k = 0; k < t.width; k++) errors[k] = s.values[at + k] - values[k];
            std::copy_n(errors, t.width, s.errors + at);
            for (size_t span = 0; span < kTileColumns / kSpan; span++)
                std::copy_n(errors + span * kSpan, kSpan, t.errors + (span * kStrip + i % kStrip) * kSpan);
        }
        if (s.columns_factor) {
            const float* wanted = t.wanted + i * kTileColumns;
            float* missed = row.missed.data() + (i / kStrip * s.columns + t.begin) * kStrip + i % kStrip;
            for (size_t k = 0; k < t.width; k++) missed[k * kStrip] = wanted[k] - values[k];
        }
        store_indices(t, at);
    }

    Workspace& space_;
    size_t count_;
};

}  // namespace
}  // namespace taut
