// The header of an adaptive array from bytes: its grid, its kernels, and how its model begins.
#include <algorithm>
#include <bit>
#include <cmath>

#include "adaptive/numbers.hpp"
#include "array/values.hpp"

namespace taut {
namespace {

Status take_floats(ByteReader& in, uint64_t rows, uint64_t columns, bool half, Vec<float>& values) {
    Vec<int32_t> numbers(values.memory());
    TAUT_TRY(take_numbers(in, rows, columns, half ? 16 : 32, numbers));
    TAUT_HAVE(values.try_resize_raw(numbers.size()));
    for (size_t i = 0; i < numbers.size(); i++) {
        TAUT_REQUIRE(!half || finite_half(uint32_t(numbers[i])), "array header: a number that is not finite");
        values[i] = half ? from_f16(uint16_t(numbers[i])) : std::bit_cast<float>(numbers[i]);
        TAUT_REQUIRE(std::isfinite(values[i]), "array header: a number that is not finite");
    }
    return {};
}

Status take_signed(ByteReader& in, int32_t& v) {
    const uint64_t z = in.varint();
    TAUT_REQUIRE(z <= 0xffffffffu, "array header: a number of more than 32 bits");
    v = int32_t(uint32_t(z) >> 1 ^ (0u - (uint32_t(z) & 1)));
    return {};
}

}  // namespace

Status read_adaptive_fields(ByteReader& in, ArrayHeader& h, bool any_size) {
    AdaptiveFields& a = h.adaptive;
    TAUT_REQUIRE(h.count >= h.row_length && h.count % h.row_length == 0, "array header: no whole rows");
    TAUT_REQUIRE(h.row_length <= kMaxAdaptiveColumns, "array header: rows of more than 2^20 values");
    const uint8_t form = in.byte();
    h.output = Output(form & 3);
    constexpr int widths[4] = {4, 2, 2, 8};
    TAUT_REQUIRE(widths[form & 3] == h.width, "array header: width and output type differ");
    a.options = in.byte();
    a.prior = in.byte();
    const uint8_t largest = in.byte();
    TAUT_REQUIRE(largest < 64, "array header: unknown options");
    a.largest = largest & 31;
    a.signs = largest >> 5;
    const uint64_t period = form & kHasKernels ? in.varint() : 1;
    TAUT_REQUIRE(!(form & kHasKernels) || (period > 1 && h.row_length % period == 0),
            "array header: kernels do not fill a row");
    a.period = uint32_t(period);
    if (form & kHasGroups) {
        a.group = in.varint();
        TAUT_REQUIRE(form & kHasScales && a.group > 0 && a.group < h.row_length, "array header: groups out of range");
    }
    const bool half = form & kHasHalves;
    if (!(form & (kHasLevels | kHasScales))) {
        TAUT_REQUIRE(!half, "array header: no number is a half");
        h.step = in.raw<float>();
        TAUT_REQUIRE(std::isfinite(h.step), "array header: step is not finite");
    }
    if (form & kHasLevels) {
        TAUT_TRY(take_signed(in, a.low));
        const uint64_t count = in.varint();
        TAUT_REQUIRE(count >= 1 && count <= kMaxLevels && int64_t(a.low) + int64_t(count) <= (int64_t(1) << 31),
                "array header: too many levels");
        TAUT_TRY(take_floats(in, count, 1, half, a.levels));
    }
    TAUT_TRY(in.status());
    TAUT_REQUIRE(!(form & kHasZeros) || ((form & kHasScales) && !(form & kHasLevels)), "array header: zeros without scales");
    const uint64_t rows = h.row_count(), groups = groups_of(h);
    if (any_size && rows * groups > kMaxLooseRows / 16) return {};
    if (form & kHasScales) TAUT_TRY(take_floats(in, rows, groups, half, a.scales));
    if (form & kHasZeros) TAUT_TRY(take_numbers(in, rows, groups, 32, a.zeros));
    TAUT_REQUIRE(in.left() == 0, "array header: bytes left over");
    return {};
}

}  // namespace taut
