// Rounding with AVX2: the eight states of the trellis in one register, products by eight columns at once.
#include "round/tiles.hpp"
#include "round/wide.hpp"

namespace taut {

void avx2_round_tiles(Workspace& space, size_t count) { TileRounder<Wide, Wide, 4, 2>(space, count).run(); }

}  // namespace taut
