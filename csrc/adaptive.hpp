// Adaptive arrays (docs/coding.md, "Adaptive"): what encoder and decoder share.
#pragma once
#include "array.hpp"
#include "varint.hpp"

namespace laconic {

constexpr size_t kMaxLevels = 65536;

inline uint64_t groups_of(const ArrayHeader& h) {
    const uint64_t group = h.adaptive.group ? h.adaptive.group : h.row_length;
    return h.row_length / group + (h.row_length % group != 0);
}

void write_adaptive_fields(std::vector<uint8_t>& out, const ArrayHeader& h);
// False when the array's scales are too many to be read before its size is known.
bool read_adaptive_fields(ByteReader& in, ArrayHeader& h, bool any_size);

void decode_adaptive_chunk(const ArrayHeader& h, uint64_t chunk, ConstBytes bytes, uint8_t* out);

// How the indices decode; `fields` without options and prior, which are chosen here.
struct AdaptiveSpec {
    uint64_t columns = 1;
    float step = 0;
    Output output = Output::f32;
    AdaptiveFields fields;
};
Encoded encode_adaptive(const int32_t* indices, uint64_t count, const AdaptiveSpec& spec, int threads);

}  // namespace laconic
