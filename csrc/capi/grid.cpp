// The grid that a tensor was rounded to: its integers, and what they are multiplied by.
#include "capi/arrays.hpp"
#include "matrix/matrix.hpp"

namespace taut::capi {
namespace {

bool has_grid(const ArrayHeader& h) {
    return h.kind == Kind::uniform || h.kind == Kind::matrix || h.kind == Kind::adaptive;
}

// The tensor's array, open.
bool open_grid(taut_file& file, const Record& r, OpenArray& array, Fail& fail) {
    if (r.place.parts.size == 0 || r.on_base != OnBase::none)
        return fail.set(TAUT_ERROR_UNSUPPORTED, "tensor \"%.*s\" lies on no grid of its own", shown(r.name()),
                        r.name().data);
    if (!open_array(file, r.place, r.stored_bytes, array, fail)) return fail.within("tensor", r.name());
    if (!array.reader.header().matrix.basis.empty())
        return fail.set(TAUT_ERROR_UNSUPPORTED, "tensor \"%.*s\" lies on no grid: its rows are sums of a basis' rows",
                        shown(r.name()), r.name().data);
    if (has_grid(array.reader.header())) return true;
    return fail.set(TAUT_ERROR_UNSUPPORTED, "tensor \"%.*s\" lies on no grid: it is stored without loss",
                    shown(r.name()), r.name().data);
}

uint64_t groups_in(const ArrayHeader& h) {
    const uint64_t group = h.adaptive.group ? h.adaptive.group : h.row_length;
    return h.row_length / group + (h.row_length % group != 0);
}

void describe(const ArrayHeader& h, taut_grid& grid) {
    grid = {};
    grid.rows = h.row_count();
    grid.columns = h.row_length;
    grid.values = h.count;
    grid.kind = h.kind == Kind::uniform ? TAUT_GRID_SUM : TAUT_GRID_PRODUCT;
    grid.trellis = h.kind == Kind::matrix && h.matrix.trellis;
    grid.group = h.kind == Kind::adaptive && h.adaptive.group ? h.adaptive.group : h.row_length;
    grid.groups = h.kind == Kind::adaptive ? groups_in(h) : 1;
    if (h.kind != Kind::adaptive)
        for (size_t k = 0; k < 3; k++) grid.offsets[k] = h.offsets[k];
    grid.first_level = h.adaptive.low;
    grid.levels = h.adaptive.levels.size();
}

float scale_of(const ArrayHeader& h, uint64_t row, uint64_t group, uint64_t groups) {
    if (h.kind == Kind::matrix) return matrix_row_scale(h, row);
    if (h.kind == Kind::uniform) return h.step;
    const AdaptiveFields& a = h.adaptive;
    return !a.scales.empty() ? a.scales[row * groups + group] : a.levels.empty() ? h.step : 1.0f;
}

}  // namespace

bool describe_grid(taut_file& file, const Record& r, taut_grid& grid, Fail& fail) {
    OpenArray array(file.memory);
    if (!open_grid(file, r, array, fail)) return false;
    describe(array.reader.header(), grid);
    return true;
}

bool read_grid(taut_file& file, const Record& r, uint64_t first, uint64_t rows, const taut_grid_out& out, Fail& fail) {
    OpenArray array(file.memory);
    if (!open_grid(file, r, array, fail)) return false;
    const ArrayHeader& h = array.reader.header();
    taut_grid grid;
    describe(h, grid);
    if (first > grid.rows || rows > grid.rows - first)
        return fail.set(TAUT_ERROR_ARGUMENT, "rows %llu .. of a grid of %llu", (unsigned long long)first,
                        (unsigned long long)grid.rows);
    const uint64_t begin = first * grid.columns,
                   end = rows == grid.rows - first ? grid.values : begin + rows * grid.columns;
    if (out.integers) {
        Into into(reinterpret_cast<uint8_t*>(out.integers));
        if (!read_array(file, r.place, array, Wanted(begin, end).times(sizeof(int32_t)), into, fail, Put::integers))
            return fail.within("tensor", r.name());
    }
    for (uint64_t i = 0; i < rows; i++)
        for (uint64_t g = 0; g < grid.groups; g++) {
            const uint64_t at = i * grid.groups + g, from = (first + i) * grid.groups + g;
            if (out.scales) out.scales[at] = scale_of(h, first + i, g, grid.groups);
            if (out.zeros) out.zeros[at] = h.adaptive.zeros.empty() ? 0 : h.adaptive.zeros[from];
        }
    for (uint64_t c = 0; out.column_scales && c < grid.columns; c++)
        out.column_scales[c] = h.kind == Kind::matrix ? array.reader.decoder().matrix().column_scale(c) : 1.0f;
    for (size_t k = 0; out.levels && k < grid.levels; k++) out.levels[k] = h.adaptive.levels[k];
    return true;
}

}  // namespace taut::capi
