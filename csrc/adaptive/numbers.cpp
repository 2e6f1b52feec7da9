// Scales, zeros and levels in a header: a few numbers, coded by the model that codes indices.
#include <algorithm>

#include "adaptive/model.hpp"
#include "adaptive/range.hpp"

namespace taut {
namespace {

constexpr uint8_t kAsTheyAre = 128;

}  // namespace

void put_numbers(std::vector<uint8_t>& out, const std::vector<int32_t>& numbers, size_t columns, int bits) {
    std::vector<int32_t> sorted = numbers;
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

std::vector<int32_t> take_numbers(ByteReader& in, uint64_t rows, uint64_t columns, int bits) {
    const uint8_t how = in.byte();
    require(how < 32 || how == kAsTheyAre, "array header: unknown kind of numbers");
    if (how == kAsTheyAre) {
        require(rows * columns <= in.left() / uint64_t(bits / 8), "array header: ends early");
        std::vector<int32_t> numbers(rows * columns);
        for (int32_t& n : numbers) n = bits == 16 ? in.raw<int16_t>() : in.raw<int32_t>();
        return numbers;
    }
    AdaptiveFields a;
    a.largest = how;
    a.prior = in.byte();
    const uint64_t middle = in.varint(), size = in.varint();
    require(middle <= 0xffffffffu, "array header: a number of more than 32 bits");
    RangeDecoder coder({in.take(size), size_t(size)});
    AdaptiveModel<RangeDecoder> model(coder, a, columns);
    std::vector<int32_t> numbers(rows * columns);
    for (uint64_t r = 0; r < rows; r++) {
        model.row(numbers.data() + r * columns);
        require(!coder.exhausted(), "array header: numbers end early");
    }
    coder.finish();
    const uint32_t add = uint32_t(middle) >> 1 ^ (0u - (uint32_t(middle) & 1));
    for (int32_t& n : numbers) {
        n = int32_t(uint32_t(n) + add);
        require(bits == 32 || n == int16_t(n), "array header: a number of more than 16 bits");
    }
    return numbers;
}

}  // namespace taut
