// Contexts: rows of like scale share a table.
#pragma once
#include "rans/rans.hpp"

namespace taut {

// What is known of a row before coding: where its symbols lie on average, and their counts (perhaps of a sample).
struct RowScan {
    static constexpr uint32_t kKeys = 4096;
    std::vector<uint16_t> key;                   // per row, below kKeys: where its symbols lie on average
    std::vector<uint8_t> symbols;                // probed symbols, row after row
    std::vector<uint32_t> probed;                // per row: how many of them
    double expansion = 1;                        // values per probed symbol
    bool sampled = false;
};

struct Contexts {
    std::vector<uint8_t> table_of;               // per row; empty: one table
    std::vector<Table> tables;
    double bits = 0;                             // estimate of everything: symbols, tables, the rows' classes
};

// The class of each row where rows, by scale, make up to `most` classes of equal size.
std::vector<uint8_t> first_classes(const std::vector<uint16_t>& key, int most);
// choose_contexts of the counts of these classes, for a scan that keeps no symbols.
Contexts choose_contexts(const RowScan& scan, const std::vector<Histogram>& counts, CoderTraits coder, int most);

// Sorts rows by scale into up to `most` classes of equal size, then joins neighbours while that saves bits.
Contexts choose_contexts(const RowScan& scan, CoderTraits coder, int most);

}  // namespace taut
