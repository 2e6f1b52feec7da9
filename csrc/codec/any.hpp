// Arrays of any kind, decoded chunk by chunk without exceptions: what codec.hpp and libtaut stand on.
#pragma once
#include "matrix/matrix.hpp"
#include "records/records.hpp"
#include "split/split.hpp"

namespace taut {

// Reads a header of an array that decodes to `nbytes` bytes. A few bytes may claim any number of rows, each of which
// takes a byte here: only the caller's buffer bounds them. Where its size is not known yet (kAnySize) the header of an
// array of more than kMaxLooseRows rows is read up to its geometry alone.
constexpr uint64_t kAnySize = ~uint64_t(0);
inline constexpr char kOtherSize[] = "array decodes to another number of bytes than was expected";
Status parse_header(ConstBytes bytes, uint64_t nbytes, ArrayHeader& h);

// One array, whatever its kind; may be used by several threads at once, each with a scratch of its own.
class AnyDecoder {
public:
    explicit AnyDecoder(Memory& memory = usual_memory);
    ~AnyDecoder();
    Status open(ConstBytes header, uint64_t nbytes, const Kernels& kernels);
    Status open(ArrayHeader&& header, const Kernels& kernels);
    const ArrayHeader& header() const { return header_; }
    const MatrixDecoder& matrix() const { return matrix_; }
    uint64_t chunk_values() const { return header_.chunk_rows * header_.row_length; }  // of all but the last
    // `out` takes the chunk's values, or the grid's integers where the array has a grid.
    // `base`: of a delta the base's values of the chunk. `rows`: a byte for each row of the chunk, 0 where it is not wanted,
    // so that making its values can be spared; whether they are put all the same depends on the kind.
    Status decode_chunk(uint64_t chunk, ConstBytes bytes, uint8_t* out, Vec<uint8_t>& scratch, Put put = Put::values,
                        const uint8_t* base = nullptr, const uint8_t* rows = nullptr) const;

private:
    Memory& memory_;
    ArrayHeader header_;
    const Kernels* kernels_ = nullptr;
    SplitDecoder split_;  // one of them
    MatrixDecoder matrix_;
    RecordsDecoder records_;

    Status open(const Kernels& kernels);
};

}  // namespace taut
