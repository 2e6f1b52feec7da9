// The door of split/: values split into a symbol, which is coded, and raw bits, which are not; and indices of a uniform
// quantiser, which have no raw bits. With them go what needs no coder: constant arrays and stored ones.
#pragma once
#include <memory>

#include "array/array.hpp"
#include "simd/simd.hpp"

namespace taut {

Encoded encode_split(const uint8_t* values, uint64_t count, int width, Mode mode, int mantissa,
                     const EncodeOptions& options);
// encode_split with kernels of one's choice; the bytes are the same with any.
Encoded encode_split_with(const EncodeKernels& kernels, const uint8_t* values, uint64_t count, int width, Mode mode,
                          int mantissa, const EncodeOptions& options);
// encode_split of values that are not all at hand, in passes over them: some of them (`choose`), then all of them three
// times, in pieces in order, each but the last of whole chunks; the header is known before the third pass. An array that
// encode_split would store is coded all the same: whoever has summed up what came out stores it.
class SplitStream {
public:
    virtual ~SplitStream() = default;
    static constexpr uint64_t kSampleBlock = 64;
    virtual std::vector<uint64_t> sample_places() const = 0;  // where the blocks of a sample begin, as values
    virtual uint64_t chunk_values() const = 0;
    virtual void choose(const uint8_t* sampled, uint64_t n) = 0;
    virtual void scan(uint64_t first, const uint8_t* values, uint64_t n) = 0;
    virtual void tally(uint64_t first, const uint8_t* values, uint64_t n) = 0;
    virtual std::vector<uint8_t> header() = 0;
    virtual std::vector<std::vector<uint8_t>> code(uint64_t first, const uint8_t* values, uint64_t n, int threads) = 0;
};
std::unique_ptr<SplitStream> stream_split(uint64_t count, int width, Mode mode, int mantissa,
                                          const EncodeOptions& options);
Encoded encode_uniform(const int32_t* indices, uint64_t count, float step, std::array<float, 3> offsets, Output output,
                       const EncodeOptions& options);
// encode_uniform of indices that are not all at hand, at least one: three passes over them, in pieces in order, each but
// the last of whole chunks; the header is known before the third.
class UniformStream {
public:
    UniformStream(uint64_t count, float step, std::array<float, 3> offsets, Output output, const EncodeOptions& options);
    ~UniformStream();
    uint64_t chunk_values() const;
    void scan(uint64_t first, const int32_t* indices, uint64_t n);
    void tally(uint64_t first, const int32_t* indices, uint64_t n);
    std::vector<uint8_t> header();
    std::vector<std::vector<uint8_t>> code(uint64_t first, const int32_t* indices, uint64_t n, int threads) const;

private:
    struct State;
    std::unique_ptr<State> state_;
};
// What encode_uniform would write, estimated from its tables without coding (bytes).
double estimate_uniform(const int32_t* indices, uint64_t count, const EncodeOptions& options);

std::vector<uint8_t> write_split_header(const ArrayHeader& header);
Status read_split_fields(ByteReader& in, ArrayHeader& h);

// Decodes chunks of one array, split, uniform or stored; may be used by several threads at once.
class SplitDecoder {
public:
    explicit SplitDecoder(Memory& memory = usual_memory) : memory_(memory), slots_(memory) {}
    Status open(const ArrayHeader& h, const Kernels& kernels);
    // `out` takes the chunk's values, or of a uniform array its indices as int32. `scratch` is kept from chunk to chunk.
    Status decode_chunk(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes, uint8_t* out,
                        Vec<uint8_t>& scratch, Put put = Put::values) const;

private:
    Memory& memory_;
    Vec<uint32_t> slots_;  // of each table, for kernels that lack a wide decoder
};

}  // namespace taut
