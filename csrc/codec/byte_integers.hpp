// A rounded array in memory as its grid's integers, a byte each, of which its values are made again and again: in a
// quarter of float32's memory, and many times as fast as they are decoded.
#pragma once
#include <memory>
#include <utility>
#include <vector>

#include "codec/codec.hpp"

namespace taut {

// Values are those that the decoder gives, to the bit. Once all chunks are taken several threads may read it.
class ByteIntegers {
public:
    // Throws a FormatError for what is no header of an array of `nbytes` bytes that is made of integers.
    ByteIntegers(ConstBytes header, uint64_t nbytes, const Kernels& kernels);
    static bool can_hold(const ArrayHeader& h) {
        return h.kind == Kind::uniform || h.kind == Kind::matrix || h.kind == Kind::adaptive;
    }
    // Takes the next chunk; false where too many integers are wider than a byte, or one than 32 bits, so that the array cannot
    // be held. A chunk that is refused with a FormatError leaves nothing behind.
    bool take(ConstBytes chunk);
    bool complete() const { return taken_ == header_.chunk_count(); }
    uint64_t held_bytes() const;
    uint64_t count() const { return header_.count; }
    int width() const { return header_.width; }
    // Values begin .. end - 1, in the array's own type, to `out`.
    void put(uint64_t begin, uint64_t end, uint8_t* out) const;

private:
    using Wide = std::pair<uint64_t, int32_t>;  // a place, and its integer
    ArrayHeader header_;
    const Kernels& kernels_;
    std::unique_ptr<AnyDecoder> decoder_;  // until all is taken
    std::vector<int32_t> integers_;        // of a chunk; until then
    uint64_t taken_ = 0;
    std::vector<uint8_t> bytes_;           // and 64 behind them; of a uniform array its symbols
    std::vector<Wide> wide_;
    std::vector<float> row_scales_, column_scales_, basis_;  // of a matrix
    MatrixRule matrix_{{}, 1, nullptr};
    UniformRule uniform_{};

    void put_numbers(uint64_t begin, uint64_t end, Output output, uint8_t* out) const;
    void put_in_row(uint64_t row, uint64_t column, size_t n, Output output, uint8_t* out) const;
    float value_at(uint64_t place, int32_t integer) const;
};

}  // namespace taut
