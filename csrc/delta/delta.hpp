// The door of delta/: values as what they differ by from those of a base, which the decoder is given. The symbols of the
// differences are themselves an array of bytes, coded as split/ codes it.
//
//   rules.hpp        values, classes and symbols: what encoder and decoder share
//   differences.hpp  what values differ by; write_chunk.hpp puts it into a chunk: the encoder's alone
#pragma once
#include <memory>

#include "split/split.hpp"

namespace taut {

// Values and base are `count` words each, of one dtype; `shift` is where the exponents of floats begin.
Encoded encode_delta(const uint8_t* values, const uint8_t* base, uint64_t count, int width, Mode mode, int shift,
                     const EncodeOptions& options);
// encode_delta of what is not all at hand: the base's values (`look`), then values and base twice, in pieces in
// order: of whole rows (`measure`), and, once the header is made, of whole chunks (`code`); the last piece is what is left.
class DeltaStream {
public:
    virtual ~DeltaStream() = default;
    virtual void look(const uint8_t* base, uint64_t n) = 0;
    virtual void measure(uint64_t first, const uint8_t* values, const uint8_t* base, uint64_t n) = 0;
    virtual std::vector<uint8_t> header() = 0;
    virtual uint64_t chunk_values() const = 0;
    virtual std::vector<std::vector<uint8_t>> code(uint64_t first, const uint8_t* values, const uint8_t* base, uint64_t n,
                                                   int threads) = 0;
};
std::unique_ptr<DeltaStream> stream_delta(uint64_t count, int width, Mode mode, int shift, const EncodeOptions& options);

std::vector<uint8_t> write_delta_header(const ArrayHeader& header);
Status read_delta_fields(ByteReader& in, ArrayHeader& h);

// Decodes one chunk, given the base's values of that chunk; may be used by several threads at once, each with memory of
// its own that it keeps (`kept`).
Status decode_delta_chunk(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes,
                          const uint8_t* base, uint8_t* out, Vec<uint8_t>& kept, Memory& memory);

}  // namespace taut
