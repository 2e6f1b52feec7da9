// The header of an adaptive array: its grid, its kernels, and how its model begins.
#include <algorithm>
#include <bit>
#include <cmath>

#include "adaptive/numbers.hpp"
#include "array/values.hpp"

namespace taut {
namespace {

enum Form : uint8_t { kHasLevels = 4, kHasScales = 8, kHasZeros = 16, kHasKernels = 32, kHasGroups = 64,
                      kHasHalves = 128 };

float from_f16(uint16_t u) {
    const int exponent = u >> 10 & 31, mantissa = u & 1023;
    const float v = exponent ? std::ldexp(float(mantissa + 1024), exponent - 25) : std::ldexp(float(mantissa), -24);
    return u >> 15 ? -v : v;
}

constexpr bool finite_half(uint32_t u) { return (u >> 10 & 31) != 31; }

// Whether float16 holds them all; 65536 is what its infinity would be read as.
bool halves(const std::vector<float>& values) {
    return std::all_of(values.begin(), values.end(), [](float v) {
        const uint16_t u = to_f16(v);
        const float half = from_f16(u);
        return finite_half(u) && std::memcmp(&half, &v, sizeof v) == 0;
    });
}

// Floats as the integers that have their bits: those of one sign are in order.
void put_floats(std::vector<uint8_t>& out, const std::vector<float>& values, size_t columns, bool half) {
    std::vector<int32_t> numbers;
    for (float v : values) numbers.push_back(half ? int16_t(to_f16(v)) : std::bit_cast<int32_t>(v));
    put_numbers(out, numbers, columns, half ? 16 : 32);
}

std::vector<float> take_floats(ByteReader& in, uint64_t rows, uint64_t columns, bool half) {
    std::vector<float> values;
    for (int32_t n : take_numbers(in, rows, columns, half ? 16 : 32)) {
        require(!half || finite_half(uint32_t(n)), "array header: a number that is not finite");
        values.push_back(half ? from_f16(uint16_t(n)) : std::bit_cast<float>(n));
        require(std::isfinite(values.back()), "array header: a number that is not finite");
    }
    return values;
}

void put_signed(std::vector<uint8_t>& out, int32_t v) { put_varint(out, uint32_t(v) << 1 ^ uint32_t(v >> 31)); }

int32_t take_signed(ByteReader& in) {
    const uint64_t z = in.varint();
    require(z <= 0xffffffffu, "array header: a number of more than 32 bits");
    return int32_t(uint32_t(z) >> 1 ^ (0u - (uint32_t(z) & 1)));
}

}  // namespace

std::vector<uint8_t> write_adaptive_header(const ArrayHeader& h) {
    std::vector<uint8_t> out = begin_header(h);
    const AdaptiveFields& a = h.adaptive;
    const bool half = halves(a.levels) && halves(a.scales) && !(a.levels.empty() && a.scales.empty());
    uint8_t form = uint8_t(h.output);
    if (!a.levels.empty()) form |= kHasLevels;
    if (!a.scales.empty()) form |= kHasScales;
    if (!a.zeros.empty()) form |= kHasZeros;
    if (a.period > 1) form |= kHasKernels;
    if (a.group) form |= kHasGroups;
    if (half) form |= kHasHalves;
    out.push_back(form);
    out.push_back(a.options);
    out.push_back(a.prior);
    out.push_back(uint8_t(a.largest | a.signs << 5));
    if (form & kHasKernels) put_varint(out, a.period);
    if (form & kHasGroups) put_varint(out, a.group);
    if (!(form & (kHasLevels | kHasScales))) put_raw(out, h.step);
    if (form & kHasLevels) {
        put_signed(out, a.low);
        put_varint(out, a.levels.size());
        put_floats(out, a.levels, 1, half);
    }
    if (form & kHasScales) put_floats(out, a.scales, size_t(groups_of(h)), half);
    if (form & kHasZeros) put_numbers(out, a.zeros, size_t(groups_of(h)), 32);
    return out;
}

void read_adaptive_fields(ByteReader& in, ArrayHeader& h, bool any_size) {
    AdaptiveFields& a = h.adaptive;
    require(h.count >= h.row_length && h.count % h.row_length == 0, "array header: no whole rows");
    require(h.row_length <= kMaxAdaptiveColumns, "array header: rows of more than 2^20 values");
    const uint8_t form = in.byte();
    h.output = Output(form & 3);
    constexpr int widths[4] = {4, 2, 2, 8};
    require(widths[form & 3] == h.width, "array header: width and output type differ");
    a.options = in.byte();
    a.prior = in.byte();
    const uint8_t largest = in.byte();
    require(largest < 64, "array header: unknown options");
    a.largest = largest & 31;
    a.signs = largest >> 5;
    const uint64_t period = form & kHasKernels ? in.varint() : 1;
    require(!(form & kHasKernels) || (period > 1 && h.row_length % period == 0),
            "array header: kernels do not fill a row");
    a.period = uint32_t(period);
    if (form & kHasGroups) {
        a.group = in.varint();
        require(form & kHasScales && a.group > 0 && a.group < h.row_length, "array header: groups out of range");
    }
    const bool half = form & kHasHalves;
    if (!(form & (kHasLevels | kHasScales))) {
        require(!half, "array header: no number is a half");
        h.step = in.raw<float>();
        require(std::isfinite(h.step), "array header: step is not finite");
    }
    if (form & kHasLevels) {
        a.low = take_signed(in);
        const uint64_t count = in.varint();
        require(count >= 1 && count <= kMaxLevels && int64_t(a.low) + int64_t(count) <= (int64_t(1) << 31),
                "array header: too many levels");
        a.levels = take_floats(in, count, 1, half);
    }
    require(!(form & kHasZeros) || ((form & kHasScales) && !(form & kHasLevels)), "array header: zeros without scales");
    const uint64_t rows = h.row_count(), groups = groups_of(h);
    if (any_size && rows * groups > kMaxLooseRows / 16) return;
    if (form & kHasScales) a.scales = take_floats(in, rows, groups, half);
    if (form & kHasZeros) a.zeros = take_numbers(in, rows, groups, 32);
    require(in.left() == 0, "array header: bytes left over");
}

}  // namespace taut
