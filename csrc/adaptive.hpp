// Adaptive arrays (docs/coding.md, "Adaptive"): what encoder and decoder share.
#pragma once
#include "array.hpp"
#include "varint.hpp"

namespace taut {

constexpr size_t kMaxLevels = 65536;
constexpr uint64_t kMaxAdaptiveColumns = uint64_t(1) << 20;  // each takes some fifty bytes while a chunk is decoded

inline uint64_t groups_of(const ArrayHeader& h) {
    const uint64_t group = h.adaptive.group ? h.adaptive.group : h.row_length;
    return h.row_length / group + (h.row_length % group != 0);
}

void write_adaptive_fields(std::vector<uint8_t>& out, const ArrayHeader& h);
void read_adaptive_fields(ByteReader& in, ArrayHeader& h, bool any_size);

// Numbers of a header: rows of integers of 16 or 32 bits, as they are or less their middle and modelled.
void put_numbers(std::vector<uint8_t>& out, const std::vector<int32_t>& numbers, size_t columns, int bits);
std::vector<int32_t> take_numbers(ByteReader& in, uint64_t rows, uint64_t columns, int bits);

// How often what a model begins with occurs.
struct IndexCounts {
    uint64_t nonzero = 0, larger = 0, live = 0;  // |q| > 0 and > 1; values in rows and columns that hold anything
    uint64_t bits = 0;                           // of all |q|
    bool dead_rows = false, dead_columns = false;
    uint32_t largest = 1;  // |q|
};
IndexCounts count_indices(const int32_t* indices, uint64_t rows, size_t columns);
void set_prior(AdaptiveFields& a, const IndexCounts& c);

std::vector<uint8_t> encode_adaptive_rows(const AdaptiveFields& a, const int32_t* indices, uint64_t rows,
                                          size_t columns);
void decode_adaptive_chunk(const ArrayHeader& h, uint64_t chunk, ConstBytes bytes, uint8_t* out);

// How the indices decode; `fields` without options and prior, which are chosen here.
struct AdaptiveSpec {
    uint64_t columns = 1;
    float step = 0;
    Output output = Output::f32;
    AdaptiveFields fields;
};
Encoded encode_adaptive(const int32_t* indices, uint64_t count, const AdaptiveSpec& spec, int threads);

}  // namespace taut
