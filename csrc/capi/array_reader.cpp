#include "capi/array_reader.hpp"

#include <algorithm>

namespace taut::capi {

bool ArrayReader::open(ConstBytes header, uint64_t bytes, Fail& fail) {
    try {
        decoder_.emplace(read_header(header.data, header.size, bytes), best_kernels());
    } catch (const FormatError& e) {
        return fail.format("%s", e.what());
    } catch (...) {
        return fail.memory();
    }
    return true;
}

uint64_t ArrayReader::bytes() const { return decoder_->header().output_bytes(); }
uint64_t ArrayReader::chunks() const { return decoder_->header().chunk_count(); }
uint64_t ArrayReader::chunk_bytes() const {
    const ArrayHeader& h = decoder_->header();
    return h.chunk_rows * h.row_length * h.width;
}
bool ArrayReader::is_constant() const { return decoder_->header().kind == Kind::constant; }

void ArrayReader::fill(uint64_t begin, uint64_t end, uint8_t* out) const {
    const ArrayHeader& h = decoder_->header();
    const auto* value = reinterpret_cast<const uint8_t*>(&h.value);
    for (uint64_t i = begin; i < end; i++) out[i - begin] = value[i % h.width];
}

bool ArrayReader::decode(uint64_t chunk, ConstBytes data, uint8_t* out, Fail& fail) const {
    try {
        decoder_->decode_chunk(chunk, data, out - chunk * chunk_bytes());
    } catch (const FormatError& e) {
        return fail.format("chunk %llu: %s", (unsigned long long)chunk, e.what());
    } catch (...) {
        return fail.memory();
    }
    return true;
}

}  // namespace taut::capi
