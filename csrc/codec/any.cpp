// One array of any kind: its header, and its chunks handed to what decodes its kind.
#include "codec/any.hpp"

#include "adaptive/adaptive.hpp"
#include "delta/delta.hpp"

namespace taut {

Status parse_header(ConstBytes bytes, uint64_t nbytes, ArrayHeader& h) {
    ByteReader in(bytes.data, bytes.size);
    TAUT_TRY(read_geometry(in, h));
    TAUT_REQUIRE(nbytes == kAnySize || nbytes == h.output_bytes(), kOtherSize);
    if (nbytes == kAnySize && h.row_count() > kMaxLooseRows) return {};
    switch (h.kind) {
        case Kind::matrix: return read_matrix_fields(in, h);
        case Kind::delta: return read_delta_fields(in, h);
        case Kind::adaptive: return read_adaptive_fields(in, h, nbytes == kAnySize);
        case Kind::records: return read_records_fields(in, h);
        default: return read_split_fields(in, h);
    }
}

AnyDecoder::AnyDecoder(Memory& memory)
    : memory_(memory), header_(memory), split_(memory), matrix_(memory), records_(memory) {}
AnyDecoder::~AnyDecoder() = default;

Status AnyDecoder::open(ConstBytes header, uint64_t nbytes, const Kernels& kernels) {
    TAUT_TRY(parse_header(header, nbytes, header_));
    return open(kernels);
}

Status AnyDecoder::open(ArrayHeader&& header, const Kernels& kernels) {
    header_ = std::move(header);
    return open(kernels);
}

Status AnyDecoder::open(const Kernels& kernels) {
    kernels_ = &kernels;
    if (header_.kind == Kind::adaptive || header_.kind == Kind::constant || header_.kind == Kind::delta) return {};
    if (header_.kind == Kind::records) return records_.open(header_, kernels);
    return header_.kind == Kind::matrix ? matrix_.open(header_, kernels) : split_.open(header_, kernels);
}

Status AnyDecoder::decode_chunk(uint64_t chunk, ConstBytes bytes, uint8_t* out, Vec<uint8_t>& scratch, Put put,
                                const uint8_t* base, const uint8_t* rows) const {
    switch (header_.kind) {
        case Kind::delta: return decode_delta_chunk(header_, *kernels_, chunk, bytes, base, out, scratch, memory_);
        case Kind::matrix: return matrix_.decode_chunk(header_, *kernels_, chunk, bytes, out, put, rows);
        case Kind::adaptive: return decode_adaptive_chunk(header_, chunk, bytes, out, memory_, put);
        case Kind::records: return records_.decode_chunk(header_, *kernels_, chunk, bytes, out, scratch);
        default: return split_.decode_chunk(header_, *kernels_, chunk, bytes, out, scratch, put);
    }
}

}  // namespace taut
