// Scales, zeros and levels of a header from bytes.
#include "adaptive/model.hpp"
#include "adaptive/range.hpp"

namespace taut {

Status take_numbers(ByteReader& in, uint64_t rows, uint64_t columns, int bits, Vec<int32_t>& numbers) {
    const uint8_t how = in.byte();
    TAUT_TRY(in.status());
    TAUT_REQUIRE(how < 32 || how == kAsTheyAre, "array header: unknown kind of numbers");
    if (how == kAsTheyAre) {
        TAUT_REQUIRE(rows * columns <= in.left() / uint64_t(bits / 8), "array header: ends early");
        TAUT_HAVE(numbers.try_resize_raw(rows * columns));
        for (int32_t& n : numbers) n = bits == 16 ? in.raw<int16_t>() : in.raw<int32_t>();
        return {};
    }
    AdaptiveFields a;
    a.largest = how;
    a.prior = in.byte();
    const uint64_t middle = in.varint(), size = in.varint();
    const uint8_t* bytes = in.take(size);
    TAUT_TRY(in.status());
    TAUT_REQUIRE(middle <= 0xffffffffu, "array header: a number of more than 32 bits");
    RangeDecoder coder({bytes, size_t(size)});
    AdaptiveModel<RangeDecoder> model(coder, a, columns, numbers.memory());
    TAUT_HAVE(model.good() && numbers.try_resize(rows * columns));
    for (uint64_t r = 0; r < rows; r++) {
        model.row(numbers.data() + r * columns);
        TAUT_REQUIRE(!coder.exhausted(), "array header: numbers end early");
    }
    TAUT_TRY(coder.finish());
    const uint32_t add = uint32_t(middle) >> 1 ^ (0u - (uint32_t(middle) & 1));
    for (int32_t& n : numbers) {
        n = int32_t(uint32_t(n) + add);
        TAUT_REQUIRE(bits == 32 || n == int16_t(n), "array header: a number of more than 16 bits");
    }
    return {};
}

}  // namespace taut
