// Arrays for the fuzzer to start from: what the library's encoders make of data with structure, what is crafted by
// hand (fuzz_craft.hpp), and bare byte streams.
#pragma once
#include <bit>
#include <cmath>

#include "fuzz_craft.hpp"

namespace fuzz {

inline Input as_input(const laconic::Encoded& e) { return {e.header, e.chunks}; }

// Numbers with a scale per row, as weights have; some rows half precision, some numbers zero, as the dice say.
inline Bytes numbers(Random& random, uint64_t count, uint64_t row_length, int width, laconic::Mode mode) {
    Bytes bytes(size_t(count) * size_t(width));
    std::normal_distribution<double> normal;
    const bool sparse = chance(random, 3), halves = chance(random, 2);
    double scale = 1;
    for (uint64_t i = 0; i < count; i++) {
        if (i % row_length == 0) scale = std::exp2(double(below(random, 12)) - 8);
        const double x = sparse && below(random, 4) ? 0 : normal(random) * scale;
        uint64_t word = uint64_t(int64_t(std::llround(x * 4096)));
        if (mode == laconic::Mode::float_) {
            const double wide = x;
            const float narrow = float(x);
            uint32_t bits;
            std::memcpy(&bits, &narrow, 4);
            if (halves && i / row_length % 2) bits &= ~0x1fffu;
            if (width == 8) std::memcpy(&word, &wide, 8);
            else word = width == 4 ? bits : width == 2 ? bits >> 16 : bits >> 24;
        }
        std::memcpy(bytes.data() + i * size_t(width), &word, size_t(width));
    }
    return bytes;
}

inline Input encoded(Random& random) {
    // The number of values chooses the coder: a few, more than 8192, more than 49152.
    const uint64_t counts[] = {1 + below(random, 3000), 9000 + below(random, 3000), 50000 + below(random, 2000)};
    const uint64_t count = counts[below(random, 8) < 6 ? 0 : chance(random, 2) ? 1 : 2];
    laconic::EncodeOptions options;
    options.max_effort = chance(random, 2);
    options.row_length = 1 + below(random, std::min<uint64_t>(count, 700));
    if (chance(random, 3)) {
        std::vector<int32_t> indices(count);
        std::normal_distribution<double> normal(0, std::exp2(double(below(random, 9))));
        for (int32_t& q : indices) q = int32_t(normal(random));
        return as_input(laconic::encode_uniform(indices.data(), count, 0.03f, {0.2f, 0.1f, 0.02f},
                                                laconic::Output(below(random, 4)), options));
    }
    const int width = 1 << below(random, 4);
    const auto mode = laconic::Mode(below(random, 3));
    constexpr int mantissas[] = {3, 7, 23, 52};
    const int mantissa = mode == laconic::Mode::float_ ? mantissas[std::countr_zero(unsigned(width))] : 0;
    const Bytes values = numbers(random, count, options.row_length, width, mode);
    return as_input(laconic::encode_split(values.data(), count, width, mode, mantissa, options));
}

// A bare byte stream, of one of its four types.
inline Input stream(Random& random) {
    Bytes bytes(1 + below(random, chance(random, 2) ? 300 : 6000));
    const uint64_t range = 1 + below(random, chance(random, 2) ? 6 : 256);
    for (uint8_t& b : bytes) b = uint8_t(below(random, 4) ? 7 : below(random, range));
    Input in{{'B'}, {laconic::write_bytes(bytes)}};
    put_length(in.header, bytes.size(), 2);
    return in;
}

inline Input seed(Random& random) {
    const uint64_t which = below(random, 8);
    return which == 0 ? encoded(random) : which == 1 ? stream(random) : crafted(random);
}

}  // namespace fuzz
