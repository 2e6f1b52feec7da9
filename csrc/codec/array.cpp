// The decoders below, for those who live with exceptions.
#include <cstring>

#include "codec/codec.hpp"

namespace taut {

void must(Status status) {
    if (status.is_memory()) throw std::bad_alloc();
    if (status) throw FormatError(status.what());
}

ArrayHeader read_header(const uint8_t* data, size_t size, uint64_t nbytes) {
    ArrayHeader h;
    const Status status = parse_header({data, size}, nbytes, h);
    if (status.what() == kOtherSize)
        throw FormatError("array decodes to " + std::to_string(h.output_bytes()) + " bytes, " + std::to_string(nbytes) +
                          " were expected");
    must(status);
    return h;
}

ArrayDecoder::ArrayDecoder(ArrayHeader header, const Kernels& kernels) { must(decoder_.open(std::move(header), kernels)); }

void ArrayDecoder::fill_constant(uint8_t* out) const {
    const ArrayHeader& h = header();
    for (uint64_t i = 0; i < h.count; i++) std::memcpy(out + i * h.width, &h.value, h.width);
}

void ArrayDecoder::decode_chunk(uint64_t chunk, ConstBytes bytes, uint8_t* out, const uint8_t* base) const {
    static thread_local Vec<uint8_t> scratch;
    const uint64_t begin = chunk * decoder_.chunk_values() * header().width;
    must(decoder_.decode_chunk(chunk, bytes, out + begin, scratch, Put::values, base ? base + begin : nullptr));
}

}  // namespace taut
