#include <algorithm>

#include "matrix/matrix.hpp"
#include "round/round.hpp"

namespace taut {

void count_magnitudes(const int16_t* indices, size_t rows, size_t columns, const CurveClasses& classes, bool trellis,
                      int64_t* counts) {
    const size_t last = classes.curves - 1;
    for (size_t i = 0; i < rows; i++) {
        uint8_t state = 0;
        for (size_t j = 0; j < columns; j++) {
            const int32_t q = indices[i * columns + j], magnitude = q < 0 ? -q : q;
            const size_t curve = std::min(size_t(classes.row_class[i]) + classes.column_class[j], last);
            const size_t at = size_t(std::min(magnitude, int32_t(kCounted) - 1));
            counts[(2 * curve + (trellis ? state & 1 : 0)) * kCounted + at]++;
            state = kNextState[state][q < -128 || q > 126 ? 1 : q & 1];  // an exception counts as odd
        }
    }
}

}  // namespace taut
