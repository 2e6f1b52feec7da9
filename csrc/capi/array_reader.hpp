// One coded array, from its header and chunks to bytes: the only door to the decoders below.
#pragma once
#include "capi/memory.hpp"
#include "codec/any.hpp"

namespace taut::capi {

// The widest decoders that this processor runs and that decode as the portable ones do.
const Kernels& trusted_kernels();
// Whether the members of both give the same bytes for units and raw bits at random.
bool kernels_agree(const Kernels& a, Memory& memory);

class ArrayReader {
public:
    explicit ArrayReader(Memory& memory) : decoder_(memory) {}
    // `bytes`: what it must decode to, or kAnySize.
    bool open(ConstBytes header, uint64_t bytes, Fail& fail);
    const AnyDecoder& decoder() const { return decoder_; }
    const ArrayHeader& header() const { return decoder_.header(); }
    uint64_t bytes() const { return header().output_bytes(); }
    uint64_t chunks() const { return header().chunk_count(); }
    uint64_t chunk_values() const {
        return decoder_.chunk_values();
    }  // of all chunks but the last, which may have fewer
    // `out` takes the chunk's values alone, `base` has those of a delta's base. Of rows that are 0 in `rows` the values
    // may be left out. May be called by several threads at once, each with its own scratch.
    bool decode(uint64_t chunk, ConstBytes data, uint8_t* out, Vec<uint8_t>& scratch, Put put, Fail& fail,
                const uint8_t* base = nullptr, const uint8_t* rows = nullptr) const;
    bool is_constant() const { return header().kind == Kind::constant; }
    void fill(uint64_t begin, uint64_t end, uint8_t* out) const;  // of a constant array

private:
    AnyDecoder decoder_;
};

}  // namespace taut::capi
