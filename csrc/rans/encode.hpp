// Bytes to units: the encoders that mirror the decoders of coders.hpp.
#pragma once
#include <algorithm>
#include <memory>
#include <vector>

#include "rans/coders.hpp"

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

// A fast table turned round, by local symbol: what 32 lanes look up with byte shuffles. A local symbol without a slot
// has the escape's entries.
struct FastLookup {
    int bucket_bits = 6;
    uint8_t first = 0;          // byte of local symbol 1
    bool escapes = false;       // whether the escape has slots; then it alone starts at 0
    alignas(16) uint8_t frequency[64]{}, start[64]{};
    alignas(16) uint8_t reciprocal_low[64]{}, reciprocal_high[64]{};  // bytes of min(2^16 / frequency, 2^16 - 1)
    alignas(16) uint8_t slot_of[256]{};                               // [start + rank] -> slot
};

// The 128 states of the fast coder, by byte: a renormalised state is its upper byte, and a quotient becomes it.
struct FastStates {
    alignas(32) uint8_t low[128], high[128];
};

// Where an encoder, which runs backwards, put its last unit and its last escaped symbol.
struct BackwardOutput {
    uint8_t* units;  // 64 bytes before the space that the symbols can need are writable
    uint8_t* tail;
};

// Codes whole steps, numbers `first` .. first + steps - 1 of the chunk, from the last to the first. Stores may run past
// the end of their output by at most 64 bytes, loads never past the end of their input.
using EncodeFastSteps = void(const FastLookup&, FastStates&, size_t first, size_t steps, const uint8_t* symbols,
                             BackwardOutput&);

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
    FastLookup fast;                // for EncodeFastSteps; the fast coder's only
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

// Codes runs of symbols as the decoder will meet them: step by step, lane by lane, from the last to the first. The fast
// coder's whole steps are left to `wide`, where there is one; the bytes are the same.
template <class Coder, int lanes>
CodedRuns code_runs(const std::vector<SymbolRun>& runs, EncodeFastSteps* wide = nullptr);

struct Units {
    std::vector<uint8_t> units, states;
};

template <class Coder, int lanes>
Units encode_runs(const std::vector<SymbolRun>& runs) {
    const CodedRuns c = code_runs<Coder, lanes>(runs);
    return {{c.units, c.units + c.units_size}, {c.states.data(), c.states.data() + c.states_size}};
}

}  // namespace taut
