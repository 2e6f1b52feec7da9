// Arrays for the fuzzer to start from: what the library's encoders make of data with structure, what is crafted by
// hand (fuzz_craft.hpp), and bare byte streams.
#pragma once
#include <bit>
#include <cmath>

#include "adaptive/adaptive.hpp"
#include "delta/delta.hpp"
#include "fuzz_craft.hpp"
#include "matrix/matrix.hpp"
#include "records/records.hpp"

namespace fuzz {

inline Input as_input(const taut::Encoded& e) { return {e.header, e.chunks}; }

// Numbers with a scale per row, as weights have; some rows half precision, some numbers zero, as the dice say.
inline Bytes numbers(Random& random, uint64_t count, uint64_t row_length, int width, taut::Mode mode) {
    Bytes bytes(size_t(count) * size_t(width));
    std::normal_distribution<double> normal;
    const bool sparse = chance(random, 3), halves = chance(random, 2);
    double scale = 1;
    for (uint64_t i = 0; i < count; i++) {
        if (i % row_length == 0) scale = std::exp2(double(below(random, 12)) - 8);
        const double x = sparse && below(random, 4) ? 0 : normal(random) * scale;
        uint64_t word = uint64_t(int64_t(std::llround(x * 4096)));
        if (mode == taut::Mode::float_) {
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
    taut::EncodeOptions options;
    options.max_effort = chance(random, 2);
    options.row_length = 1 + below(random, std::min<uint64_t>(count, 700));
    if (chance(random, 3)) {
        std::vector<int32_t> indices(count);
        std::normal_distribution<double> normal(0, std::exp2(double(below(random, 9))));
        for (int32_t& q : indices) q = int32_t(normal(random));
        return as_input(taut::encode_uniform(indices.data(), count, 0.03f, {0.2f, 0.1f, 0.02f},
                                                taut::Output(below(random, 4)), options));
    }
    const int width = 1 << below(random, 4);
    const auto mode = taut::Mode(below(random, 3));
    constexpr int mantissas[] = {3, 7, 23, 52};
    const int mantissa = mode == taut::Mode::float_ ? mantissas[std::countr_zero(unsigned(width))] : 0;
    const Bytes values = numbers(random, count, options.row_length, width, mode);
    return as_input(taut::encode_split(values.data(), count, width, mode, mantissa, options));
}

// A bare byte stream, of one of its four types.
inline Input stream(Random& random) {
    Bytes bytes(1 + below(random, chance(random, 2) ? 300 : 6000));
    const uint64_t range = 1 + below(random, chance(random, 2) ? 6 : 256);
    for (uint8_t& b : bytes) b = uint8_t(below(random, 4) ? 7 : below(random, range));
    Input in{{'B'}, {taut::write_bytes(bytes)}};
    put_length(in.header, bytes.size(), 2);
    return in;
}

// Gives a matrix of so many columns a basis.
inline void add_basis(Random& random, taut::MatrixSpec& to) {
    taut::MatrixSpec spec;
    spec.columns = to.columns;
    spec.step = 0.1f;
    spec.fields.trellis = chance(random, 2);
    std::vector<int32_t> indices(spec.columns * spec.columns);
    for (int32_t& q : indices) q = int32_t(below(random, 7)) - 3;
    const taut::Encoded coded = taut::encode_matrix_with(taut::CoderId(below(random, 3)), indices.data(), indices.size(),
                                                         spec, {true, spec.columns, 1});
    taut::set_basis(to, {coded.header.data(), coded.header.size()}, {coded.chunks[0].data(), coded.chunks[0].size()});
}

// A matrix of any coder: rows and columns of their own scales, with exponents, rare indices and exceptions at times.
inline Input matrix(Random& random) {
    taut::MatrixSpec spec;
    const uint64_t rows = 1 + below(random, chance(random, 4) ? 300 : 20);
    spec.columns = 1 + below(random, chance(random, 4) ? 300 : 30);
    spec.step = 0.03f;
    if (chance(random, 2)) spec.offsets = {0.125f, 0.0625f, 0.0f};
    if (chance(random, 3)) spec.offsets = {0.2f, -0.1f, 0.03f};
    spec.output = taut::Output(below(random, 4));
    spec.fields.trellis = below(random, 4);
    spec.fields.row_fraction = uint8_t(below(random, 5));
    spec.fields.column_fraction = uint8_t(below(random, 5));
    const auto exponents = [&](uint64_t n) {
        std::vector<uint8_t> e(chance(random, 2) ? n : 0);
        for (uint8_t& b : e) b = uint8_t(100 + below(random, 60));
        return e;
    };
    spec.fields.row_exponents = exponents(rows);
    spec.fields.column_exponents = exponents(spec.columns);
    std::vector<int32_t> indices(rows * spec.columns);
    std::vector<double> of_row(rows), of_column(spec.columns);
    for (double& s : of_row) s = std::exp2(double(below(random, 10)) / 2 - 2);
    for (double& s : of_column) s = std::exp2(double(below(random, 4)) / 2);
    std::normal_distribution<double> normal;
    const uint64_t rarely = 3 + below(random, 3000);
    for (size_t i = 0; i < indices.size(); i++)
        indices[i] = chance(random, rarely)
                         ? int32_t(int64_t(random()) >> (chance(random, 2) ? 56 : 32))
                         : int32_t(normal(random) * of_row[i / spec.columns] * of_column[i % spec.columns]);
    if (chance(random, 4)) add_basis(random, spec);
    const auto coder = taut::CoderId(below(random, 3));
    return as_input(taut::encode_matrix_with(coder, indices.data(), indices.size(), spec, {true, spec.columns, 1}));
}

// An adaptive array on any grid: rows and columns of their own densities, dead ones among them, and huge indices.
inline Input adaptive(Random& random) {
    taut::AdaptiveSpec spec;
    taut::AdaptiveFields& a = spec.fields;
    constexpr uint32_t periods[] = {1, 1, 2, 9, 70};
    a.period = periods[below(random, 5)];
    const uint64_t rows = 1 + below(random, chance(random, 4) ? 200 : 20);
    spec.columns = a.period * (1 + below(random, 1 + 60 / a.period));
    spec.step = 0.03f;
    spec.output = taut::Output(below(random, 4));
    std::normal_distribution<float> normal;
    const bool levels = chance(random, 3), halves = chance(random, 2);
    const auto number = [&] { return halves ? float(int64_t(below(random, 2000)) - 1000) / 64 : normal(random); };
    std::vector<int32_t> indices(rows * spec.columns);
    std::vector<double> of_row(rows), of_column(spec.columns);
    for (double& s : of_row) s = chance(random, 5) ? 0 : std::exp2(double(below(random, 10)) / 2 - 3);
    for (double& s : of_column) s = chance(random, 5) ? 0 : std::exp2(double(below(random, 8)) / 2 - 2);
    const uint64_t rarely = 3 + below(random, 3000);
    for (size_t i = 0; i < indices.size(); i++) {
        const double x = double(normal(random)) * of_row[i / spec.columns] * of_column[i % spec.columns];
        indices[i] = levels ? int32_t(std::clamp(x, -5.0, 6.0))
                            : chance(random, rarely) ? int32_t(int64_t(random()) >> 32) : int32_t(x);
    }
    if (levels) a.low = -5;
    for (int k = 0; levels && k < 12; k++) a.levels.push_back(number());
    if (chance(random, 2)) {
        if (spec.columns > 1 && chance(random, 2)) a.group = 1 + below(random, spec.columns - 1);
        const uint64_t groups = a.group ? (spec.columns + a.group - 1) / a.group : 1;
        for (uint64_t k = 0; k < rows * groups; k++) a.scales.push_back(number());
        if (!levels && chance(random, 2))
            for (uint64_t k = 0; k < rows * groups; k++) a.zeros.push_back(int32_t(below(random, 20)) - 10);
    }
    return as_input(taut::encode_adaptive(indices.data(), indices.size(), spec, 1));
}

// Records of a byte, from which contexts follow, and of `n` bytes of two elements each, as blocks with a scale are; or of
// one element in two pieces, in groups.
inline Input records(Random& random) {
    const auto n = uint8_t(2 * (1 + below(random, 12)));
    Bytes layout{uint8_t(n + 1), 2, 8, 1, 0, 0, 1, 0, 8, 0, 0, 1};
    if (chance(random, 2)) {
        const Bytes pairs{4, 2, 1, 0, n, 1, 8, 8, 8, 1, 0, 0, 2, 0, 16};
        layout.insert(layout.end(), pairs.begin(), pairs.end());
    } else {
        const Bytes pieces{8, 1, 2, 1, 2, uint8_t(n / 2), 2, 8, 3, uint8_t(n / 2 * 8), 8, 11, 5, uint8_t(n / 2 * 8), 8,
                           2, 0, 2, 4, 255, 0, 6, 1, 16};
        layout.insert(layout.end(), pieces.begin(), pieces.end());
    }
    const uint64_t rows = 1 + below(random, chance(random, 4) ? 4000 : 200), each = 1 + below(random, 4);
    Bytes bytes(size_t(rows * each) * (n + 1u));
    for (uint8_t& b : bytes) b = uint8_t(below(random, 256) & below(random, 256) & below(random, 256));
    return as_input(taut::encode_records(bytes.data(), bytes.size(), each * (n + 1u), {layout.data(), layout.size()}, 1));
}

// A delta of any width: rows and columns that did not move, few values that did, moves of all sizes, flipped bits.
inline Input delta(Random& random) {
    const int width = 1 << below(random, 4);
    const auto mode = taut::Mode(below(random, 3));
    taut::EncodeOptions options;
    const uint64_t count = 1 + below(random, chance(random, 4) ? 40000 : 2000);
    options.row_length = 1 + below(random, std::min<uint64_t>(count, 300));
    const Bytes base = base_of(size_t(count) * size_t(width), width);
    Bytes values = base;
    const uint64_t rarely = chance(random, 2) ? 1 : 2 + below(random, 200), most = 1 + below(random, uint64_t(8 * width));
    const bool flips = chance(random, 3);
    for (uint64_t i = 0; i < count; i++) {
        if (below(random, rarely) || (i / options.row_length) % 7 == 3 || i % options.row_length % 5 == 4) continue;
        uint64_t word = 0;
        uint8_t* const at = values.data() + i * size_t(width);
        std::memcpy(&word, at, size_t(width));
        const uint64_t by = random() >> (64 - most) >> below(random, most);
        word = flips ? word ^ by : chance(random, 2) ? word + by : word - by;
        std::memcpy(at, &word, size_t(width));
    }
    constexpr int mantissas[] = {3, 7, 23, 52};
    const int mantissa = mode == taut::Mode::float_ ? mantissas[std::countr_zero(unsigned(width))] : 0;
    return as_input(taut::encode_delta(values.data(), base.data(), count, width, mode, mantissa, options));
}

inline Input seed(Random& random) {
    const uint64_t which = below(random, 14);
    if (which >= 12) return delta(random);
    if (which >= 10) return records(random);
    if (which >= 8) return adaptive(random);
    if (which >= 6) return matrix(random);
    return which == 0 ? encoded(random) : which == 1 ? stream(random) : crafted(random);
}

}  // namespace fuzz
