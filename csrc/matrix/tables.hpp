// Tables of a matrix's contexts as bits: frequencies one by one, or slopes.
#pragma once
#include "matrix/layout.hpp"

namespace taut {

constexpr uint32_t kMostTableOnes = 32;  // of a Rice code in a table

int buckets_for(int count, CoderTraits coder);

// Frequencies from slopes. Rounding goes to the middle's account. False: these slopes make no table.
bool set_frequencies(const Slopes& s, Table& t, CoderTraits coder);

// The parameter that codes these numbers in the fewest bits; kNoRice of them where none can.
constexpr int kNoRice = 1 << 30;
struct Rice {
    int k = 0, bits = kNoRice;
};
Rice best_rice(const std::vector<uint32_t>& z, int most_k);

// What is written of each magnitude: how the slope changes.
std::vector<uint32_t> changes(const Slopes& s);

// What is written of each frequency: the difference to the one before, the escape's apart.
std::vector<uint32_t> differences(const Table& t, int count);

// The last local symbol that has a slot in any of them.
int last_of(const std::vector<Table>& tables);

}  // namespace taut
