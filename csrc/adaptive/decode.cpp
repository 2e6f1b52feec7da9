// Chunks of an adaptive array.
#include <algorithm>

#include "adaptive/model.hpp"
#include "adaptive/range.hpp"
#include "array/values.hpp"

namespace taut {
namespace {

// The values of one group of a row, which share a scale.
template <class Level>
void put_group(Output output, const int32_t* q, size_t n, float scale, bool scaled, Level&& level, uint8_t* out) {
    for (size_t i = 0; i < n; i++) {
        const float v = level(q[i]);
        store(output, scaled ? v * scale : v, out, i);
    }
}

Status put_row(const ArrayHeader& h, const int32_t* q, uint64_t row, uint8_t* out) {
    const AdaptiveFields& a = h.adaptive;
    const size_t columns = size_t(h.row_length), groups = size_t(groups_of(h));
    const size_t group = a.group ? size_t(a.group) : columns;
    const bool scaled = !a.scales.empty();
    if (!a.levels.empty())
        for (size_t i = 0; i < columns; i++)
            TAUT_REQUIRE(uint64_t(int64_t(q[i]) - a.low) < a.levels.size(), "an index without a level");
    for (size_t g = 0; g < groups; g++) {
        const size_t first = g * group, n = std::min(group, columns - first), at = size_t(row) * groups + g;
        const float scale = scaled ? a.scales[at] : 1.0f;
        uint8_t* to = out + first * h.width;
        if (!a.levels.empty()) {
            const float* levels = a.levels.data();
            put_group(h.output, q + first, n, scale, scaled, [&](int32_t i) { return levels[i - a.low]; }, to);
        } else if (scaled) {
            const int64_t zero = a.zeros.empty() ? 0 : a.zeros[at];
            put_group(h.output, q + first, n, scale, true, [&](int32_t i) { return float(i - zero); }, to);
        } else {
            put_group(h.output, q + first, n, h.step, true, [&](int32_t i) { return float(i); }, to);
        }
    }
    return {};
}

}  // namespace

Status decode_adaptive_chunk(const ArrayHeader& h, uint64_t chunk, ConstBytes bytes, uint8_t* out, Memory& memory,
                             Put put) {
    const AdaptiveFields& a = h.adaptive;
    const size_t columns = size_t(h.row_length);
    const uint64_t first = chunk * h.chunk_rows, rows = std::min(h.chunk_rows, h.row_count() - first);
    RangeDecoder in(bytes);
    AdaptiveModel<RangeDecoder> model(in, a, columns, memory);
    TAUT_HAVE(model.good());
    if (a.column_flags()) {
        Vec<uint8_t> dead(memory);
        TAUT_HAVE(dead.try_resize(columns));
        model.columns(dead);
    }
    Vec<int32_t> q(memory);
    TAUT_HAVE(q.try_resize(columns));
    const size_t row_bytes = columns * (put == Put::values ? h.width : sizeof(int32_t));
    for (uint64_t r = first; r < first + rows; r++) {
        std::fill(q.begin(), q.end(), 0);
        if (!a.row_flags() || !model.row_is_dead(false)) model.row(q.data());
        TAUT_REQUIRE(!in.exhausted(), "symbols end early");
        uint8_t* to = out + (r - first) * row_bytes;
        if (put == Put::values) TAUT_TRY(put_row(h, q.data(), r, to));
        else std::memcpy(to, q.data(), row_bytes);
    }
    return in.finish();
}

}  // namespace taut
