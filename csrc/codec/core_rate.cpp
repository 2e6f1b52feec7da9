// How fast the symbol decoders alone run: cache-resident symbols, nothing put together from them.
#include <chrono>
#include <cmath>

#include "codec/codec.hpp"
#include "matrix/matrix.hpp"

namespace taut {
namespace {

// Gaussian symbols from a fixed linear congruential sequence (sum of uniforms; Knuth's MMIX constants).
std::vector<uint8_t> gaussian_symbols(size_t count, double deviation) {
    std::vector<uint8_t> out(count);
    uint64_t x = 1;
    for (uint8_t& b : out) {
        double sum = 0;
        for (int i = 0; i < 12; i++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            sum += double(x >> 40) / double(1 << 24);
        }
        b = uint8_t(std::lround(128 + deviation * (sum - 6)));
    }
    return out;
}

template <class Coder, size_t lanes>
CoreRate measure(const Kernels& k, const std::vector<uint8_t>& symbols, CoderTraits traits, int repeats) {
    Histogram counts{};
    for (uint8_t b : symbols) counts[b]++;
    const Table table = make_table(counts, traits, false);
    const EncodeTable lookup = make_encode_table<Coder>(table);
    std::vector<uint32_t> slots(size_t(1) << Coder::prob_bits);
    make_slots(table, Coder::prob_bits, slots.data());
    const Units units = encode_runs<Coder, int(lanes)>({{&lookup, symbols.data(), symbols.size()}});
    std::vector<uint8_t> padded = units.units;
    padded.resize(padded.size() + 1024);
    std::vector<uint8_t> out(symbols.size() + 64);
    CoreRate rate{1e300, entropy_bits(counts) / double(symbols.size()),
                  8.0 * double(units.units.size() + units.states.size()) / double(symbols.size())};
    for (int r = 0; r < repeats; r++) {
        alignas(64) typename Coder::State state[lanes];
        std::memcpy(state, units.states.data(), sizeof state);
        const uint8_t* p = padded.data();
        size_t bank = 0;
        const size_t steps = symbols.size() / kStep;
        const auto start = std::chrono::steady_clock::now();
        if constexpr (sizeof(typename Coder::State) == 2) {
            if (k.fast_steps) k.fast_steps(table, state, bank, steps, p, out.data());
            else decode_steps_portable<Coder>(slots.data(), state, bank, steps, p, out.data());
        } else {
            if (k.dense_steps) k.dense_steps(table, state, bank, steps, p, out.data());
            else decode_steps_portable<Coder>(slots.data(), state, bank, steps, p, out.data());
        }
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        rate.seconds = std::min(rate.seconds, took.count() / double(symbols.size()));
    }
    return rate;
}

CoreRate measure_matrix(const Kernels& k, const std::vector<uint8_t>& symbols, CoderId coder, int repeats) {
    std::vector<int32_t> indices;
    for (uint8_t s : symbols) indices.push_back(int32_t(s) - 128);
    MatrixSpec spec;
    spec.columns = indices.size() / lanes_of(coder);
    spec.step = 1;
    spec.fields.trellis = true;
    const Encoded coded = encode_matrix_with(coder, indices.data(), indices.size(), spec, {true, spec.columns, 1});
    const ArrayHeader h = read_header(coded.header.data(), coded.header.size());
    MatrixDecoder decoder;
    must(decoder.open(h, k));
    std::array<Histogram, 2> counts{};
    for (size_t r = 0; r < h.row_count(); r++)
        for (size_t c = 0, state = 0; c < spec.columns; c++) {
            const uint8_t s = symbols[r * spec.columns + c];
            counts[state & 1][s]++;
            state = kNextState[state][s & 1];
        }
    const double n = double(symbols.size());
    const std::vector<uint8_t>& chunk = coded.chunks.at(0);
    CoreRate rate{1e300, (entropy_bits(counts[0]) + entropy_bits(counts[1])) / n, 8.0 * double(chunk.size()) / n};
    for (int r = 0; r < repeats; r++) {
        const auto start = std::chrono::steady_clock::now();
        must(decoder.decode_chunk(h, k, 0, {chunk.data(), chunk.size()}, nullptr));
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        rate.seconds = std::min(rate.seconds, took.count() / n);
    }
    return rate;
}

}  // namespace

CoreRate core_rate(const Kernels& kernels, bool dense, double deviation, int repeats, bool trellis) {
    const std::vector<uint8_t> symbols = gaussian_symbols(size_t(1) << 17, deviation);
    if (trellis) return measure_matrix(kernels, symbols, dense ? CoderId::dense : CoderId::fast, repeats);
    return dense ? measure<Dense, 64>(kernels, symbols, kDense, repeats)
                 : measure<Fast, 128>(kernels, symbols, kFast, repeats);
}

}  // namespace taut
