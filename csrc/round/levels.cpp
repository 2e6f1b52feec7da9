#include "matrix/matrix.hpp"
#include "round/round.hpp"

namespace taut {

template <class Index>
void decode_indices(const Index* indices, size_t rows, size_t columns, const LevelSpec& spec, float* decoded) {
    for (size_t i = 0; i < rows; i++) {
        uint8_t state = 0;
        for (size_t j = 0; j < columns; j++) {
            const int64_t q = indices[i * columns + j], magnitude = q < 0 ? -q : q;
            const float level = float(level_of(q, spec.trellis, state & 1));
            state = kNextState[state][q < -128 || q > 126 ? 1 : q & 1];  // an exception counts as odd
            const float offset = magnitude == 0 ? 0.f : spec.offsets[size_t(magnitude < 3 ? magnitude : 3) - 1];
            decoded[i * columns + j] = (level - (q < 0 ? -offset : offset)) * spec.row_steps[i] * spec.column_scales[j];
        }
    }
}

template void decode_indices(const int8_t*, size_t, size_t, const LevelSpec&, float*);
template void decode_indices(const int16_t*, size_t, size_t, const LevelSpec&, float*);
template void decode_indices(const int32_t*, size_t, size_t, const LevelSpec&, float*);

}  // namespace taut
