// Bytes to units: the encoders that mirror the decoders of rans.hpp.
#pragma once
#include <algorithm>
#include <memory>

#include "array.hpp"
#include "encode_kernels.hpp"

namespace taut {

// Memory that is neither cleared nor given back between chunks: touching fresh pages would cost more than coding.
class Scratch {
public:
    uint8_t* at_least(size_t size) {
        if (size > size_) {
            bytes_.reset(new uint8_t[size]);
            size_ = size;
        }
        return bytes_.get();
    }

private:
    std::unique_ptr<uint8_t[]> bytes_;
    size_t size_ = 0;
};

// A table turned round: by byte. Bytes without a slot have the escape's entry.
struct EncodeTable {
    struct Entry {
        uint64_t reciprocal = 0;  // ceil(2^k / frequency), k = 2 * unit_bits + prob_bits
        uint32_t limit = 0;       // a state from here on gives a unit away first
        uint16_t frequency = 0;
        uint16_t start = 0;       // of the symbol's part of slot_of; the escape's is 0
    };
    std::array<Entry, 256> entry{};
    std::array<uint16_t, 256> frequency{};  // 0 for bytes without a slot
    uint16_t escape_frequency = 0;
    std::vector<uint16_t> slot_of;  // [start + rank] -> slot
    FastLookup fast;                // for wide kernels; the fast coder's only
};

// Exact quotients by multiplication (Granlund and Montgomery 1994): with m = ceil(2^k / f) and e = m f - 2^k < f,
// x m / 2^k exceeds x / f by x e / (f 2^k), which is less than 1 / f as long as x e < 2^k; here x < 2^(2 unit_bits)
// and e < 2^prob_bits. The product fits 64 bits because a renormalised x is less than f 2^(2 unit_bits - prob_bits).
template <class Coder>
constexpr int reciprocal_bits = 2 * Coder::unit_bits + Coder::prob_bits;

template <class Coder>
EncodeTable make_encode_table(const Table& table);

struct SymbolRun {
    const EncodeTable* table;
    const uint8_t* symbols;
    size_t count;
};

// What coding left, in buffers of this thread that the next call overwrites; the tail is in coded order.
struct CodedRuns {
    const uint8_t* units;
    size_t units_size;
    const uint8_t* tail;
    size_t tail_size;
    std::array<uint8_t, 256> states;
    size_t states_size;
};

// Codes runs of symbols as the decoder will meet them: step by step, lane by lane, from the last to the first.
template <class Coder, int lanes>
CodedRuns code_runs(const std::vector<SymbolRun>& runs, const EncodeKernels& kernels);

// encode_split with kernels of one's choice; the bytes are the same with any.
Encoded encode_split_with(const EncodeKernels& kernels, const uint8_t* values, uint64_t count, int width, Mode mode,
                          int mantissa, const EncodeOptions& options);

struct Units {
    std::vector<uint8_t> units, states;
};

template <class Coder, int lanes>
Units encode_runs(const std::vector<SymbolRun>& runs) {
    const CodedRuns c = code_runs<Coder, lanes>(runs, best_encode_kernels());
    return {{c.units, c.units + c.units_size}, {c.states.data(), c.states.data() + c.states_size}};
}

}  // namespace taut
