// One array of any kind: its header, and its chunks handed to what decodes its kind.
#include <cstring>

#include "adaptive/adaptive.hpp"
#include "codec/codec.hpp"
#include "matrix/matrix.hpp"
#include "split/split.hpp"

namespace taut {

ArrayHeader read_header(const uint8_t* data, size_t size, uint64_t nbytes) {
    ByteReader in(data, size);
    ArrayHeader h = read_geometry(in);
    if (nbytes != kAnySize && nbytes != h.output_bytes())
        throw FormatError("array decodes to " + std::to_string(h.output_bytes()) + " bytes, " +
                          std::to_string(nbytes) + " were expected");
    if (nbytes == kAnySize && h.row_count() > kMaxLooseRows) return h;
    switch (h.kind) {
        case Kind::matrix: read_matrix_fields(in, h); break;
        case Kind::adaptive: read_adaptive_fields(in, h, nbytes == kAnySize); break;
        default: read_split_fields(in, h);
    }
    return h;
}

ArrayDecoder::ArrayDecoder(ArrayHeader header, const Kernels& kernels) : header_(std::move(header)), kernels_(kernels) {
    if (header_.kind == Kind::matrix) matrix_ = std::make_shared<const MatrixDecoder>(header_, kernels);
    else if (header_.kind != Kind::adaptive) split_ = std::make_shared<const SplitDecoder>(header_, kernels);
}

void ArrayDecoder::fill_constant(uint8_t* out) const {
    for (uint64_t i = 0; i < header_.count; i++) std::memcpy(out + i * header_.width, &header_.value, header_.width);
}

void ArrayDecoder::decode_chunk(uint64_t chunk, ConstBytes bytes, uint8_t* out) const {
    if (matrix_) return matrix_->decode_chunk(header_, kernels_, chunk, bytes, out);
    if (split_) return split_->decode_chunk(header_, kernels_, chunk, bytes, out);
    decode_adaptive_chunk(header_, chunk, bytes, out);
}

}  // namespace taut
