// Rounding with AVX-512: the trellis as with AVX2, products by sixteen columns at once.
#include "round/tiles.hpp"
#include "round/wide.hpp"

namespace taut {
namespace {

struct Widest {
    static constexpr int kLanes = 16;
    __m512 v;

    Widest() = default;
    TAUT_INLINE explicit Widest(float x) : v(_mm512_set1_ps(x)) {}
    TAUT_INLINE Widest(__m512 x) : v(x) {}
    static TAUT_INLINE Widest load(const float* p) { return _mm512_loadu_ps(p); }
    TAUT_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }
    friend TAUT_INLINE Widest operator+(Widest a, Widest b) { return _mm512_add_ps(a.v, b.v); }
    friend TAUT_INLINE Widest operator*(Widest a, Widest b) { return _mm512_mul_ps(a.v, b.v); }
};

}  // namespace

void avx512_round_tiles(Workspace& space, size_t count) { TileRounder<Wide, Widest, 8, 2>(space, count).run(); }

}  // namespace taut
