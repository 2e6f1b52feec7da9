// The door of codec/: arrays of any kind decoded, one chunk or many arrays at once, and the kernels to trust with it.
//
//   any.hpp              the decoders themselves, which return what is wrong; what stands here throws it
//   byte_integers.hpp    rounded arrays kept as integers, for who wants their values again and again
#pragma once
#include <stdexcept>
#include <string>

#include "codec/any.hpp"

namespace taut {

// The bytes given are not what an encoder writes. Never leaves the core: the bindings translate it.
struct FormatError : std::runtime_error {
    using std::runtime_error::runtime_error;
};
// Throws what is wrong: a FormatError, or std::bad_alloc.
void must(Status status);

ArrayHeader read_header(const uint8_t* data, size_t size, uint64_t nbytes = kAnySize);

// Decodes the chunks of one array; may be used by several threads at once.
class ArrayDecoder {
public:
    ArrayDecoder(ArrayHeader header, const Kernels& kernels);
    const ArrayHeader& header() const { return decoder_.header(); }
    // `out` is the start of the whole array's output, header().output_bytes() long.
    // So is `base`, of a delta, that of the base's values.
    void decode_chunk(uint64_t chunk, ConstBytes bytes, uint8_t* out, const uint8_t* base = nullptr) const;
    void fill_constant(uint8_t* out) const;

private:
    AnyDecoder decoder_;
};

// One array: its header, its chunks where they lie, and the buffer for its values.
struct DecodeJob {
    ConstBytes header;
    std::vector<ConstBytes> chunks;
    uint8_t* out;
    size_t out_size;
    const uint8_t* base = nullptr;  // of a delta: as many bytes as `out`
};

// Decodes all jobs; their headers and chunks form one queue for the threads. A FormatError names job and chunk.
void decode_arrays(const std::vector<DecodeJob>& jobs, int threads, const Kernels& kernels);

// Decodes chunks of one array from `first` on, as many as the job has, to a buffer of their values alone; the whole array
// decodes to `total` bytes.
void decode_range(const DecodeJob& job, uint64_t total, uint64_t first, int threads, const Kernels& kernels);

// Chosen rows of one array, whose header is read once. A row may be of another length than the array's own; each lies in one
// chunk. May be used by several threads at once.
class ChosenRows {
public:
    // Of an array that decodes to `total` bytes, in rows of `row_bytes`.
    ChosenRows(ConstBytes header, uint64_t total, uint64_t row_bytes, const Kernels& kernels);
    uint64_t chunk_bytes() const { return decoder_.chunk_values() * decoder_.header().width; }
    // Decodes a chunk to `scratch`, which has room for all of it, and copies its rows of these numbers, which rise and are counted
    // from its first one, to `out`, one behind the other. `base`: of a delta the base's values of the chunk.
    void take(uint64_t chunk, ConstBytes bytes, const int64_t* rows, size_t count, uint8_t* scratch, uint8_t* out,
              const uint8_t* base = nullptr) const;
    // Bytes that a chunk decodes to; a FormatError where there is none of this number.
    uint64_t bytes_of(uint64_t chunk) const;
    uint64_t row_bytes() const { return row_bytes_; }

private:
    AnyDecoder decoder_;
    uint64_t row_bytes_;
};

// The widest that this processor runs and that decode as the portable ones do.
const Kernels& best_kernels();
// Whether both decode some small arrays of every coder, width and kind to the same bytes; takes about a millisecond.
bool decodes_alike(const Kernels& a, const Kernels& b);

struct CoreRate {
    double seconds;  // per symbol, the best of the repeats
    double entropy;  // bits per symbol
    double coded;    // bits per symbol, states included
};

// For bench/: 2^17 Gaussian symbols of this standard deviation, decoded `repeats` times from cache by the plain loop, or
// by that of a matrix with a trellis.
CoreRate core_rate(const Kernels& kernels, bool dense, double deviation, int repeats, bool trellis);

}  // namespace taut
