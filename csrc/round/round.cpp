#include "round/round.hpp"

#include <algorithm>
#include <string_view>

#include "base/parallel.hpp"
#include "round/portable.hpp"
#include "round/tiles.hpp"
#include "round/wavefront.hpp"

namespace taut {
namespace {

constexpr size_t kTogether = 2;    // tiles that a thread rounds at once: more of them fall out of the cache
constexpr size_t kLeastRows = 32;  // of a tile, where there are so many

using RoundTiles = void (*)(Workspace&, size_t);

void portable_round_tiles(Workspace& space, size_t count) {
    TileRounder<Portable, Portable, 4, 1>(space, count).run();
}

RoundTiles tiles_of(const Kernels& kernels) {
    const std::string_view name = kernels.name;
#if TAUT_AVX512
    if (name == "avx512") return avx512_round_tiles;
#endif
#if TAUT_AVX2
    if (name != "portable") return avx2_round_tiles;
#endif
    (void)name;
    return portable_round_tiles;
}

// Low tiles are many, so that all threads have some; high ones make larger products of matrices.
size_t rows_of_tile(const RoundSpec& s) {
    const size_t wanted = s.rows / (s.rows_factor ? 8 : 2 * kTogether * size_t(std::max(1, s.threads)));
    return std::clamp<size_t>(wanted / kStrip * kStrip, kLeastRows, kTileRows);
}

class MatrixRounder {
public:
    MatrixRounder(const RoundSpec& spec, int16_t* indices)
        : spec_(spec), indices_(indices), height_(rows_of_tile(spec)),
          rows_((spec.rows + height_ - 1) / height_), columns_((spec.columns + kTileColumns - 1) / kTileColumns) {}

    std::vector<LargeIndex> run(RoundTiles round) {
        const size_t threads = std::min(size_t(std::max(1, spec_.threads)), rows_.size());
        Wavefront front(rows_.size(), columns_, spec_.rows_factor != nullptr);
        std::vector<std::vector<LargeIndex>> large(threads);
        parallel_for(threads, int(threads), [&](size_t t) {
            try {
                work(front, round, large[t]);
            } catch (...) {
                front.fail();
                throw;
            }
        });
        std::vector<LargeIndex> all;
        for (const auto& some : large) all.insert(all.end(), some.begin(), some.end());
        std::sort(all.begin(), all.end(), [](const LargeIndex& a, const LargeIndex& b) { return a.at < b.at; });
        return all;
    }

private:
    void work(Wavefront& front, RoundTiles round, std::vector<LargeIndex>& large) {
        Workspace space;
        for (size_t n = 0; n < kTogether; n++) space.tiles.push_back(std::make_unique<Tile>());
        for (;;) {
            const std::vector<TilePlace> places = front.take(kTogether);
            if (places.empty()) break;
            for (size_t n = 0; n < places.size(); n++) set(*space.tiles[n], places[n]);
            round(space, places.size());
            for (const TilePlace& place : places)
                if (place.column + 1 == columns_) rows_[place.row] = TileRow{};
            front.finish(places);
        }
        for (const auto& tile : space.tiles) large.insert(large.end(), tile->large.begin(), tile->large.end());
    }

    void set(Tile& tile, const TilePlace& place) {
        TileRow& row = rows_[place.row];
        if (place.column == 0) open(row, place.row * height_);
        tile.spec = &spec_;
        tile.row = &row;
        tile.indices = indices_;
        tile.begin = place.column * kTileColumns;
        tile.width = std::min(kTileColumns, spec_.columns - tile.begin);
    }

    void open(TileRow& row, size_t first) const {
        row.first = first;
        row.count = std::min(height_, spec_.rows - first);
        row.strips = (row.count + kStrip - 1) / kStrip;
        row.states.assign(row.count, 0);
        if (spec_.columns_factor) row.missed.assign(row.strips * spec_.columns * kStrip, 0.f);
        if (spec_.rows_factor == nullptr) return;
        const size_t depth = first + row.count;
        row.shares.assign(row.strips * depth * kStrip, 0.f);
        for (size_t r = 0; r < depth; r++)
            for (size_t i = 0; i < row.count; i++)
                row.shares[(i / kStrip * depth + r) * kStrip + i % kStrip] =
                    spec_.rows_factor[r * spec_.rows + first + i];
    }

    const RoundSpec& spec_;
    int16_t* indices_;
    size_t height_;
    std::vector<TileRow> rows_;
    size_t columns_;
};

}  // namespace

void store_indices(Tile& tile, size_t at) {
    for (size_t k = 0; k < tile.width; k++) {
        const int32_t index = tile.row_indices[k];
        const bool fits = index == int16_t(index);
        tile.indices[at + k] = fits ? int16_t(index) : int16_t(0);
        if (!fits) tile.large.push_back({at + k, index});
    }
}

std::vector<LargeIndex> round_matrix(const RoundSpec& spec, int16_t* indices, const Kernels& kernels) {
    if (spec.rows == 0 || spec.columns == 0) return {};
    return MatrixRounder(spec, indices).run(tiles_of(kernels));
}

}  // namespace taut
