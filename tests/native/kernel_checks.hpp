// Wide kernels against the portable functions, on random tables, lengths and rules. Inputs and outputs are allocated to the
// byte, with the 64 spare ones that loads may touch: a sanitiser sees what runs further.
#pragma once
#include <cstdio>
#include <random>
#include <vector>

#include "array/values.hpp"
#include "codec/codec.hpp"
#include "matrix/matrix.hpp"
#include "split/split.hpp"

namespace {

using namespace taut;
using Bytes = std::vector<uint8_t>;
constexpr size_t kSpare = 64;

std::mt19937_64 random_bits(20240229);
size_t below(size_t n) { return size_t(random_bits() % n); }

int failures = 0;
void check(bool good, const char* kernels, const char* what) {
    if (good || ++failures > 20) return;
    std::printf("FAILED %s: %s\n", kernels, what);
}

Bytes random_bytes(size_t n) {
    Bytes v(n);
    for (uint8_t& b : v) b = uint8_t(random_bits());
    return v;
}

// Symbols with zeros and exceptions more often than chance has them.
Bytes random_symbols(size_t n) {
    Bytes v = random_bytes(n);
    const size_t rate = 1 + below(20);
    for (size_t i = 0; i < n; i++)
        if (below(rate) == 0) v[i] = below(2) ? 0 : kException;
    return v;
}

// --- tables --------------------------------------------------------------------------------------------------------

// shape 0: even; 1: few symbols; 2: mostly escapes; 3: one symbol; 4: skewed.
Table random_table(int prob_bits, int bucket_bits, int shape) {
    Table t;
    t.bucket_bits = bucket_bits;
    const int whole = 1 << prob_bits;
    const size_t locals = (bucket_bits == 8 ? 0 : below(2)) ? 2 + below((size_t(1) << bucket_bits) - 1)
                                                            : size_t(1) << bucket_bits;
    t.first = uint8_t(below(257 - (locals - 1)));
    const size_t used = shape == 1 ? std::min<size_t>(locals, 2 + below(4)) : locals;
    int left = whole;
    const auto give = [&](size_t s, int share) {
        share = std::min({share, left, whole - 1 - t.frequency[s]});
        t.frequency[s] = uint16_t(t.frequency[s] + share);
        left -= share;
    };
    if (shape == 2) give(0, whole * 3 / 4);
    if (shape == 3) give(1 + below(locals - 1), whole - 1);
    while (left > 0) give(shape == 4 ? below(1 + below(used)) : below(used), 1 + int(below(size_t(whole / 64))));
    build_alias(t, prob_bits);
    return t;
}

// --- symbols -------------------------------------------------------------------------------------------------------

template <class Coder>
auto steps_of(const Kernels& k) {
    if constexpr (std::is_same_v<Coder, Fast>) return k.fast_steps;
    else return k.dense_steps;
}

// Units and states may be any: every state decodes to something.
template <class Coder>
void test_steps(const Kernels& k, const char* name, const Table& t, size_t steps) {
    using State = typename Coder::State;
    if (!steps_of<Coder>(k)) return;
    std::array<State, size_t(Coder::lanes)> state;
    constexpr uint64_t states = uint64_t(Coder::low) * ((1u << Coder::unit_bits) - 1);
    for (State& x : state) x = State(Coder::low + random_bits() % states);
    auto expected = state;
    const Bytes units = random_bytes(steps * kStep * sizeof(typename Coder::Unit) + kSpare);
    Bytes out(steps * kStep), expected_out(steps * kStep);
    size_t bank = Coder::lanes == 128 ? 64 * below(2) : 0, expected_bank = bank;
    const uint8_t *p = units.data(), *q = p;
    steps_of<Coder>(k)(t, state.data(), bank, steps, p, out.data());
    std::vector<uint32_t> slots(size_t(1) << Coder::prob_bits);
    make_slots(t, Coder::prob_bits, slots.data());
    decode_steps_portable<Coder>(slots.data(), expected.data(), expected_bank, steps, q, expected_out.data());
    check(out == expected_out, name, "symbols");
    check(state == expected, name, "states");
    check(p == q, name, "units used");
    check(Coder::lanes == 64 || bank == expected_bank, name, "bank");
}

template <class Coder>
void test_coder(const Kernels& k, const char* name, int least_bits, int most_bits) {
    for (int bits = least_bits; bits <= most_bits; bits++)
        for (int shape = 0; shape < 5; shape++)
            for (int i = 0; i < 40; i++) {
                const Table t = random_table(Coder::prob_bits, bits, shape);
                test_steps<Coder>(k, name, t, i == 0 ? 200 : below(9));
            }
}

// --- escapes -------------------------------------------------------------------------------------------------------

void test_escapes(const Kernels& k, const char* name) {
    for (int i = 0; i < 400; i++) {
        const size_t n = i < 130 ? size_t(i) : below(2000);
        const uint8_t mark = uint8_t(random_bits());
        Bytes symbols = random_bytes(n);
        const size_t rate = 1 + below(i % 2 ? 3 : 300);
        for (uint8_t& s : symbols)
            if (below(rate) == 0) s = mark;
        const size_t marks = size_t(std::count(symbols.begin(), symbols.end(), mark));
        Bytes padded = symbols;
        padded.resize(n + kSpare, mark);
        if (k.count) check(k.count(padded.data(), n, mark) == marks, name, "count");
        if (!k.patch) continue;
        const Bytes tail = random_bytes(marks);
        const uint8_t* end = k.patch(padded.data(), n, mark, tail.data());
        check(end == tail.data() + marks, name, "tail used");
        for (size_t j = 0, next = 0; j < n; j++)
            if (symbols[j] == mark) symbols[j] = tail[next++];
        symbols.resize(n + kSpare, mark);
        check(padded == symbols, name, "patched symbols");
    }
}

// --- values --------------------------------------------------------------------------------------------------------

template <class T>
void test_merge(const Kernels& k, const char* name, const SplitRule& rule, size_t n) {
    const Bytes symbols = random_symbols(n + kSpare);
    const Bytes raw = random_bytes((n * size_t(rule.packed()) + 7) / 8 + kSpare);
    std::vector<T> out(n);
    const size_t done = k.merge(rule, sizeof(T), symbols.data(), raw.data(), n, reinterpret_cast<uint8_t*>(out.data()));
    check(done <= n, name, "values merged");
    for (size_t i = 0; i < done; i++) {
        const uint8_t s = symbols[i];
        const T expected = join<T>(rule, s == 0 ? 0 : rule.base + s - 1, field_at(rule, raw.data(), i));
        check(s == kException || out[i] == expected, name, "merged value");
    }
}

void test_split(const Kernels& k, const char* name) {
    if (!k.merge) return;
    for (int i = 0; i < 6000; i++) {
        const int width = 1 << i % 4, most = std::min(kMaxLow, 8 * width - 1);
        SplitRule rule{};
        rule.mode = Mode(below(3));
        const int signs = rule.mode == Mode::float_;
        rule.low = signs + int(below(size_t(most + 1 - signs)));
        rule.drop = below(2) ? int(below(size_t(rule.low - signs + 1))) : 0;
        rule.base = random_bits() >> below(64);
        const size_t n = below(below(8) ? 100 : 1000);
        switch (width) {
            case 1: test_merge<uint8_t>(k, name, rule, n); break;
            case 2: test_merge<uint16_t>(k, name, rule, n); break;
            case 4: test_merge<uint32_t>(k, name, rule, n); break;
            default: test_merge<uint64_t>(k, name, rule, n);
        }
    }
}

// Steps from below the smallest half to above the largest float, so that every rounding and infinity comes up.
void test_uniform(const Kernels& k, const char* name) {
    if (!k.uniform) return;
    std::uniform_real_distribution<float> share(0, 1);
    for (int i = 0; i < 4000; i++) {
        ArrayHeader h;
        const int exponent = i % 3 ? -35 + int(below(55)) : -149 + int(below(277));
        h.step = std::ldexp(1 + (below(2) ? share(random_bits) : float(below(8)) / 8), exponent);
        for (float& offset : h.offsets) offset = below(3) ? share(random_bits) / 2 : below(9) ? 0 : 1e30f;
        const UniformRule rule = uniform_rule(h);
        const Output output = Output(i % 4);
        const size_t size = std::array{4, 2, 2, 8}[size_t(output)], n = below(100);
        const Bytes symbols = random_symbols(n + kSpare);
        Bytes out(n * size), expected(8);
        const size_t done = k.uniform(rule, output, symbols.data(), n, out.data());
        check(done <= n, name, "levels");
        for (size_t j = 0; j < done; j++) {
            store(output, reconstruct(rule, int32_t(symbols[j]) - 128), expected.data(), 0);
            check(symbols[j] == kException || !std::memcmp(out.data() + j * size, expected.data(), size), name,
                  "level");
        }
    }
}

// --- whole arrays --------------------------------------------------------------------------------------------------

// Skewed upper bytes as weights have them, and noise below.
Bytes random_values(size_t n, size_t width) {
    Bytes v = random_bytes(n * width);
    std::geometric_distribution<int> skewed(0.3);
    for (size_t i = 0; i < n; i++) v[i * width + width - 1] = uint8_t(60 - skewed(random_bits) + int(below(2)) * 128);
    return v;
}

void test_arrays(const Kernels& k, const char* name) {
    for (int i = 0; i < 60; i++) {
        const int width = 1 << i % 4, mantissa = std::array{3, 7, 23, 52}[size_t(i % 4)];
        const size_t n = 1 + below(30000);
        const Bytes values = random_values(n, size_t(width));
        EncodeOptions options;
        options.max_effort = below(2);
        options.row_length = 1 + below(700);
        const Encoded coded = encode_split(values.data(), n, width, Mode(below(3)), mantissa, options);
        const ArrayDecoder decoder(read_header(coded.header.data(), coded.header.size(), values.size()), k);
        Bytes out(values.size());
        if (coded.chunks.empty()) decoder.fill_constant(out.data());
        try {
            for (size_t c = 0; c < coded.chunks.size(); c++)
                decoder.decode_chunk(c, {coded.chunks[c].data(), coded.chunks[c].size()}, out.data());
        } catch (const FormatError& error) {
            check(false, name, error.what());
        }
        check(out == values, name, "array");
    }
}

// --- matrices ------------------------------------------------------------------------------------------------------

void add_basis(MatrixSpec& to) {
    MatrixSpec spec;
    spec.columns = to.columns;
    spec.step = 0.1f;
    std::vector<int32_t> indices(spec.columns * spec.columns);
    for (int32_t& q : indices) q = int32_t(below(9)) - 4;
    const Encoded coded =
        encode_matrix_with(CoderId::small, indices.data(), indices.size(), spec, {true, spec.columns, 1});
    set_basis(to, {coded.header.data(), coded.header.size()}, {coded.chunks[0].data(), coded.chunks[0].size()});
}

// Whole matrices, against the portable decoder: every number of rows, of buckets, rare symbols in plenty.
void test_matrices(const Kernels& k, const char* name) {
    for (int i = 0; i < 120; i++) {
        MatrixSpec spec;
        const uint64_t rows = i % 3 ? 1 + below(200) : 64 * (1 + below(4));
        spec.columns = 1 + below(i % 2 ? 40 : 400);
        spec.step = 0.03f;
        if (below(3)) spec.offsets = {0.2f, -0.1f, 0.05f};
        spec.output = Output(below(4));
        spec.fields.trellis = below(4);
        spec.fields.row_fraction = uint8_t(below(5));
        for (uint64_t r = 0; r < rows; r++) spec.fields.row_exponents.push_back(uint8_t(90 + below(60)));
        std::normal_distribution<double> normal(0, std::exp2(double(below(60)) / 8 - 1));
        if (i % 4 == 0) add_basis(spec);
        std::vector<int32_t> indices(rows * spec.columns);
        const size_t rate = 2 + below(i % 4 ? 5000 : 8);
        for (int32_t& q : indices)
            q = below(rate) ? int32_t(normal(random_bits)) : int32_t(random_bits() >> (below(2) ? 56 : 32));
        for (CoderId coder : {CoderId::fast, CoderId::dense, CoderId::small}) {
            const Encoded coded =
                encode_matrix_with(coder, indices.data(), indices.size(), spec, {true, spec.columns, 1});
            Bytes out[2];
            for (size_t j = 0; j < 2; j++) {
                const ArrayDecoder decoder(read_header(coded.header.data(), coded.header.size()),
                                           j ? k : portable_kernels());
                out[j].resize(decoder.header().output_bytes());
                try {
                    for (size_t c = 0; c < coded.chunks.size(); c++)
                        decoder.decode_chunk(c, {coded.chunks[c].data(), coded.chunks[c].size()}, out[j].data());
                } catch (const FormatError& error) {
                    check(false, name, error.what());
                }
            }
            check(out[0] == out[1], name, "matrix");
        }
    }
}

void test_kernels(const Kernels& k, const char* name) {
    test_matrices(k, name);
    test_coder<Fast>(k, name, 4, 6);
    test_coder<Dense>(k, name, 5, 8);
    test_escapes(k, name);
    test_split(k, name);
    test_uniform(k, name);
    test_arrays(k, name);
    std::printf("%s: %s\n", name, failures ? "FAILED" : "ok");
}

}  // namespace
