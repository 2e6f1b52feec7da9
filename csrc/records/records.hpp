// The door of records/: arrays whose bytes are records of one layout, as blocks of quantised weights are. Each field's symbols
// are coded by themselves, in contexts that follow from fields before it (docs/coding.md, "Records").
#pragma once
#include <memory>

#include "array/array.hpp"
#include "simd/simd.hpp"

namespace taut {

constexpr size_t kMaxRecord = 4096;      // bytes
constexpr size_t kMaxRecordFields = 32;
constexpr int kMaxRecordContexts = 32;   // of a field

Status read_records_fields(ByteReader& in, ArrayHeader& h);

// Decodes chunks of one array; may be used by several threads at once.
class RecordsDecoder {
public:
    explicit RecordsDecoder(Memory& memory = usual_memory) : memory_(memory), slots_(memory), places_(memory) {}
    Status open(const ArrayHeader& h, const Kernels& kernels);
    Status decode_chunk(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes, uint8_t* out,
                        Vec<uint8_t>& scratch) const;

private:
    Memory& memory_;
    Vec<uint32_t> slots_;   // of each table, for kernels that lack a wide decoder
    Vec<uint16_t> places_;  // of each field: bits at which its groups lie, then its symbols within a group
};

// Whole rows of records, in passes over them: all of them once to count, the header, all of them again to code; in pieces of
// whole chunks, in order.
class RecordsStream {
public:
    virtual ~RecordsStream() = default;
    virtual uint64_t chunk_bytes() const = 0;
    virtual void count(const uint8_t* bytes, uint64_t n) = 0;
    virtual std::vector<uint8_t> header() = 0;
    virtual std::vector<std::vector<uint8_t>> code(const uint8_t* bytes, uint64_t n, int threads) = 0;
};
// `layout` as a header holds it; throws std::invalid_argument with what is wrong with it, or with the sizes.
std::unique_ptr<RecordsStream> stream_records(uint64_t bytes, uint64_t row_bytes, ConstBytes layout);
// All of it at once; stored where coding gains nothing.
Encoded encode_records(const uint8_t* bytes, uint64_t n, uint64_t row_bytes, ConstBytes layout, int threads);

}  // namespace taut
