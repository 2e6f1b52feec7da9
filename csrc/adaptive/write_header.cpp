// The header of an adaptive array to bytes.
#include <algorithm>
#include <bit>

#include "adaptive/numbers.hpp"
#include "array/values.hpp"

namespace taut {
namespace {

// Whether float16 holds them all; 65536 is what its infinity would be read as.
bool halves(const Vec<float>& values) {
    return std::all_of(values.begin(), values.end(), [](float v) {
        const uint16_t u = to_f16(v);
        const float half = from_f16(u);
        return finite_half(u) && std::memcmp(&half, &v, sizeof v) == 0;
    });
}

// Floats as the integers that have their bits: those of one sign are in order.
void put_floats(std::vector<uint8_t>& out, const Vec<float>& values, size_t columns, bool half) {
    Vec<int32_t> numbers;
    for (float v : values) numbers.push_back(half ? int16_t(to_f16(v)) : std::bit_cast<int32_t>(v));
    put_numbers(out, numbers, columns, half ? 16 : 32);
}

void put_signed(std::vector<uint8_t>& out, int32_t v) { put_varint(out, uint32_t(v) << 1 ^ uint32_t(v >> 31)); }

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

}  // namespace taut
