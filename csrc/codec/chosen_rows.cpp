// Rows of one array without the rest of it.
#include <algorithm>
#include <cstring>

#include "codec/codec.hpp"

namespace taut {

ChosenRows::ChosenRows(ConstBytes header, uint64_t total, uint64_t row_bytes, const Kernels& kernels) : row_bytes_(row_bytes) {
    must(decoder_.open(read_header(header.data, header.size, total), kernels));
    if (decoder_.header().kind == Kind::constant || !row_bytes || chunk_bytes() % row_bytes)
        throw FormatError("the array has no chunks of whole rows");
}

uint64_t ChosenRows::bytes_of(uint64_t chunk) const {
    const ArrayHeader& h = decoder_.header();
    if (chunk >= h.chunk_count()) throw FormatError("array has " + std::to_string(h.chunk_count()) + " chunks, not this one");
    return std::min(chunk_bytes(), h.output_bytes() - chunk * chunk_bytes());
}

void ChosenRows::take(uint64_t chunk, ConstBytes bytes, const int64_t* rows, size_t count, uint8_t* scratch, uint8_t* out,
                      const uint8_t* base) const {
    static thread_local Vec<uint8_t> symbols;
    const ArrayHeader& h = decoder_.header();
    const bool spared = h.kind == Kind::matrix;  // other kinds put all rows of a chunk
    std::vector<uint8_t> wanted(spared ? h.chunk_rows : 0);
    const uint64_t own = h.row_length * h.width;
    for (size_t i = 0; spared && i < count; i++) {
        const uint64_t begin = uint64_t(rows[i]) * row_bytes_;
        const uint64_t first = begin / own, last = (begin + row_bytes_ - 1) / own;
        std::memset(wanted.data() + first, 1, last - first + 1);
    }
    must(decoder_.decode_chunk(chunk, bytes, scratch, symbols, Put::values, base, spared ? wanted.data() : nullptr));
    for (size_t i = 0; i < count; i++) std::memcpy(out + i * row_bytes_, scratch + uint64_t(rows[i]) * row_bytes_, row_bytes_);
}

}  // namespace taut
