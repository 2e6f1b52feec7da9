// Levels to numbers, sixteen at a time: what instruction sets share whose struct I (simd/steps.hpp) has, too:
//
//   Ints, Floats                     sixteen of them
//   indices(symbols), levels(bytes)  symbols less 128; signed bytes
//   clamp(i, most)                   to -most .. most
//   look_up(sixteen floats, i)       by the lowest four bits of each
//   load_floats, floats(v), from_ints, plus, minus, times
//   put<output>(v, out)              stores sixteen numbers of this type
#pragma once
#include "simd/simd.hpp"

namespace taut {
namespace {
namespace wide {

// q * step + shift[clamp(q, -3, 3)]
template <class I>
struct UniformLevels {
    typename I::Floats step, shift;
    TAUT_INLINE explicit UniformLevels(const UniformRule& rule) : step(I::floats(rule.step)) {
        // By the lowest four bits of an index between -3 and 3.
        alignas(64) float by_index[16] = {};
        for (int q = -3; q <= 3; q++) by_index[q & 15] = rule.shift[size_t(q + 3)];
        shift = I::load_floats(by_index);
    }
    TAUT_INLINE typename I::Floats operator()(const uint8_t* symbols) const {
        const auto q = I::indices(symbols);
        return I::plus(I::times(I::from_ints(q), step), I::look_up(shift, I::clamp(q, 3)));
    }
};

// (level - sign * offset[min(|level|, 7)]) * row * column
template <class I>
struct MatrixNumbers {
    typename I::Floats offset, row;
    TAUT_INLINE explicit MatrixNumbers(const MatrixRule& rule) : row(I::floats(rule.row_scale)) {
        // By the lowest four bits of a level between -7 and 7, with its sign.
        alignas(64) float by_level[16] = {};
        for (int k = 1; k < 8; k++) {
            by_level[k] = rule.offset[size_t(k)];
            by_level[16 - k] = -rule.offset[size_t(k)];
        }
        offset = I::load_floats(by_level);
    }
    TAUT_INLINE typename I::Floats operator()(const int8_t* levels, const float* column_scale) const {
        const auto level = I::levels(levels);
        const auto amount = I::minus(I::from_ints(level), I::look_up(offset, I::clamp(level, 7)));
        return I::times(I::times(amount, row), I::load_floats(column_scale));
    }
};

constexpr size_t size_of(Output output) { return output == Output::f32 ? 4 : output == Output::f64 ? 8 : 2; }

template <class I, Output output>
size_t uniform_to(const UniformRule& rule, const uint8_t* symbols, size_t n, uint8_t* out) {
    constexpr size_t size = size_of(output);
    const UniformLevels<I> level(rule);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) I::template put<output>(level(symbols + i), out + size * i);
    if (i < n) {
        uint8_t last[16 * size];
        I::template put<output>(level(symbols + i), last);
        std::memcpy(out + size * i, last, size * (n - i));
    }
    return n;
}

template <class I, Output output>
size_t row_to(const MatrixRule& rule, const int8_t* levels, size_t n, uint8_t* out) {
    const MatrixNumbers<I> numbers(rule);
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        I::template put<output>(numbers(levels + i, rule.column_scale + i), out + size_of(output) * i);
    return i;
}

template <class I>
size_t uniform_of(const UniformRule& rule, Output output, const uint8_t* symbols, size_t n, uint8_t* out) {
    switch (output) {
        case Output::f32: return uniform_to<I, Output::f32>(rule, symbols, n, out);
        case Output::f16: return uniform_to<I, Output::f16>(rule, symbols, n, out);
        case Output::bf16: return uniform_to<I, Output::bf16>(rule, symbols, n, out);
        default: return uniform_to<I, Output::f64>(rule, symbols, n, out);
    }
}

template <class I>
size_t matrix_row_of(const MatrixRule& rule, Output output, const int8_t* levels, size_t n, uint8_t* out) {
    switch (output) {
        case Output::f32: return row_to<I, Output::f32>(rule, levels, n, out);
        case Output::f16: return row_to<I, Output::f16>(rule, levels, n, out);
        case Output::bf16: return row_to<I, Output::bf16>(rule, levels, n, out);
        default: return row_to<I, Output::f64>(rule, levels, n, out);
    }
}

// As many columns at a time as registers hold: every basis row is read once, in pieces.
template <class I, size_t width>
TAUT_INLINE void combine_at(const float* coefficients, const uint32_t* which, size_t used, const float* basis, size_t columns,
                            float* out) {
    typename I::Floats sum[width];
    for (size_t k = 0; k < width; k++) sum[k] = I::floats(0);
    for (size_t i = 0; i < used; i++) {
        const auto by = I::floats(coefficients[which[i]]);
        const float* row = basis + which[i] * columns;
        for (size_t k = 0; k < width; k++) sum[k] = I::plus(sum[k], I::times(by, I::load_floats(row + 16 * k)));
    }
    for (size_t k = 0; k < width; k++) I::template put<Output::f32>(sum[k], reinterpret_cast<uint8_t*>(out + 16 * k));
}

template <class I, size_t width>
size_t combine_of(const float* coefficients, const uint32_t* which, size_t used, const float* basis, size_t columns,
                  float* out) {
    size_t j = 0;
    for (; j + 16 * width <= columns; j += 16 * width)
        combine_at<I, width>(coefficients, which, used, basis + j, columns, out + j);
    return j;
}

}  // namespace wide
}  // namespace
}  // namespace taut
