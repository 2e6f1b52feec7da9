// The door of delta/: values as what they differ by from those of a base, which the decoder is given. The symbols of the
// differences are themselves an array of bytes, coded as split/ codes it.
//
//   rules.hpp    values, classes and symbols: what encoder and decoder share
#pragma once
#include "split/split.hpp"

namespace taut {

// Values and base are `count` words each, of one dtype; `shift` is where the exponents of floats begin.
Encoded encode_delta(const uint8_t* values, const uint8_t* base, uint64_t count, int width, Mode mode, int shift,
                     const EncodeOptions& options);

std::vector<uint8_t> write_delta_header(const ArrayHeader& header);
Status read_delta_fields(ByteReader& in, ArrayHeader& h);

// Decodes one chunk, given the base's values of that chunk; may be used by several threads at once, each with memory of
// its own that it keeps (`kept`).
Status decode_delta_chunk(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes,
                          const uint8_t* base, uint8_t* out, Vec<uint8_t>& kept, Memory& memory);

}  // namespace taut
