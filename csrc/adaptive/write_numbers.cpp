// Scales, zeros and levels of a header to bytes: a few numbers, coded by the model that codes indices.
#include <algorithm>

#include "adaptive/numbers.hpp"

namespace taut {

void put_numbers(std::vector<uint8_t>& out, const Vec<int32_t>& numbers, size_t columns, int bits) {
    std::vector<int32_t> sorted(numbers.begin(), numbers.end());
    std::nth_element(sorted.begin(), sorted.begin() + ptrdiff_t(sorted.size() / 2), sorted.end());
    const uint32_t middle = uint32_t(sorted[sorted.size() / 2]);
    std::vector<int32_t> rest;
    for (int32_t n : numbers) rest.push_back(int32_t(uint32_t(n) - middle));
    const uint64_t rows = numbers.size() / columns;
    AdaptiveFields a;
    set_prior(a, count_indices(rest.data(), rows, columns));
    std::vector<uint8_t> coded{a.largest, a.prior};
    put_varint(coded, middle << 1 ^ uint32_t(int32_t(middle) >> 31));
    const std::vector<uint8_t> bytes = encode_adaptive_rows(a, rest.data(), rows, columns);
    put_varint(coded, bytes.size());
    coded.insert(coded.end(), bytes.begin(), bytes.end());
    if (coded.size() <= numbers.size() * size_t(bits / 8)) {
        out.insert(out.end(), coded.begin(), coded.end());
        return;
    }
    out.push_back(kAsTheyAre);
    for (int32_t n : numbers) bits == 16 ? put_raw(out, int16_t(n)) : put_raw(out, n);
}

}  // namespace taut
