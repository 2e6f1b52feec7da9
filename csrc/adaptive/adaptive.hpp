// The door of adaptive/: indices coded bit by bit by a model that learns as it goes (docs/coding.md, "Adaptive").
#pragma once
#include <memory>

#include "array/array.hpp"

namespace taut {

constexpr size_t kMaxLevels = 65536;
constexpr uint64_t kMaxAdaptiveColumns = uint64_t(1) << 20;  // each takes some fifty bytes while a chunk is decoded

std::vector<uint8_t> write_adaptive_header(const ArrayHeader& h);
Status read_adaptive_fields(ByteReader& in, ArrayHeader& h, bool any_size);
// `out` takes the chunk's values, or its indices as int32.
Status decode_adaptive_chunk(const ArrayHeader& h, uint64_t chunk, ConstBytes bytes, uint8_t* out,
                             Memory& memory = usual_memory, Put put = Put::values);

// How the indices decode; `fields` without options and prior, which are chosen here.
struct AdaptiveSpec {
    uint64_t columns = 1;
    float step = 0;
    Output output = Output::f32;
    AdaptiveFields fields;
};
Encoded encode_adaptive(const int32_t* indices, uint64_t count, const AdaptiveSpec& spec, int threads);
// encode_adaptive of rows that are not all at hand: all are counted in order, some whole rows at a time; the header is
// known from the first `sample_rows` of them; then all are coded, whole chunks at a time.
class AdaptiveStream {
public:
    AdaptiveStream(uint64_t count, const AdaptiveSpec& spec);
    ~AdaptiveStream();
    uint64_t chunk_rows() const;
    void count(const int32_t* indices, uint64_t rows);
    uint64_t sample_rows() const;
    std::vector<uint8_t> header(const int32_t* sample);
    std::vector<std::vector<uint8_t>> code(const int32_t* indices, uint64_t rows, int threads) const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace taut
