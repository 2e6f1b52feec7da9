// One coded array, from its header and chunks to bytes: the only door to the decoders below.
#pragma once
#include <optional>

#include "capi/memory.hpp"
#include "codec/codec.hpp"

namespace taut::capi {

class ArrayReader {
public:
    explicit ArrayReader(Memory& memory) : memory_(memory) {}
    // `bytes`: what it must decode to, or kAnySize.
    bool open(ConstBytes header, uint64_t bytes, Fail& fail);
    uint64_t bytes() const;
    uint64_t chunks() const;
    uint64_t chunk_bytes() const;  // decoded, of all chunks but the last, which may have fewer
    // `out` takes the chunk's values alone. May be called by several threads at once.
    bool decode(uint64_t chunk, ConstBytes data, uint8_t* out, Fail& fail) const;
    bool is_constant() const;
    void fill(uint64_t begin, uint64_t end, uint8_t* out) const;  // of a constant array

private:
    Memory& memory_;
    std::optional<ArrayDecoder> decoder_;
};

}  // namespace taut::capi
