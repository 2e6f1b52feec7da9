// From counts to tables, their cost in bits, and their bytes.
#pragma once
#include "base/bits.hpp"
#include "rans/coders.hpp"

namespace taut {

using Histogram = std::array<uint32_t, 256>;  // counts of bytes

// Counts bytes in four parts: of equal neighbours in one part, each would wait for the one before.
class Counter {
public:
    void add(const uint8_t* bytes, size_t n);
    Histogram take();  // and begin anew

private:
    std::array<Histogram, 4> parts_{};
};

struct CoderTraits {
    int prob_bits;
    int min_bucket_bits, max_bucket_bits;
};
constexpr CoderTraits kFast{8, 4, 6}, kDense{12, 5, 8};

// The cheapest table of the form this coder knows for these counts. With `sampled` counts the escape always has a
// slot, so that bytes that the sample missed can be coded. An empty histogram gives a table too.
Table make_table(const Histogram& counts, CoderTraits coder, bool sampled);

// Expected bits of coding these counts with a table made for them: symbols, escapes with their tail, and the table.
double cost_bits(const Histogram& counts, CoderTraits coder, bool sampled);
double cost_bits(const Histogram& counts, const Table& table, CoderTraits coder);

constexpr uint32_t kMaxQuotient = 48;  // of a Rice code; a writer picks the parameter so that it stays below

// log2 of the buckets of a table whose last local symbol is this.
int bucket_bits_for(int last, CoderTraits coder);

void write_table(BitWriter& out, const Table& table);
// Returns false on anything a writer would not have written; the table is complete (aliases built) otherwise.
bool read_table(BitReader& in, Table& table, CoderTraits coder);

// Rounds shares of `sum` that add up to n to integers >= 1 (for nonzero shares) that add up to `sum`.
void apportion(const std::vector<double>& counts, double n, int sum, uint16_t* frequency);

double entropy_bits(const Histogram& counts);

// The same on every machine, to 2^-22; n >= 1.
double log2_of(uint64_t n);

}  // namespace taut
