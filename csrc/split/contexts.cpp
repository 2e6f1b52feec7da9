#include "split/contexts.hpp"

#include <algorithm>
#include <cstddef>

namespace taut {
namespace {

struct Class {
    Histogram counts{};
    uint64_t rows = 0;
    double bits = 0;  // of its symbols and table
};

Histogram scaled(const Histogram& h, double by) {
    if (by == 1) return h;
    Histogram s;
    for (size_t i = 0; i < 256; i++) s[i] = uint32_t(std::min(h[i] * by + 0.5, 4294967295.0));  // arrays may hold more
    return s;
}

// The fast coder's classes are compared by entropy, which is quick. What a table costs beyond it goes by its symbols:
// their frequencies in the header, and what their rounding and the luck of the sample lose.
double class_bits(const Histogram& counts, const RowScan& scan, CoderTraits coder) {
    if (coder.prob_bits != kFast.prob_bits) return cost_bits(scaled(counts, scan.expansion), coder, scan.sampled);
    constexpr double bits_per_symbol = 14;
    double bits = 20;
    for (uint32_t c : counts) bits += c ? bits_per_symbol : 0;
    return bits + scan.expansion * entropy_bits(counts);
}

Class join(const Class& a, const Class& b, const RowScan& scan, CoderTraits coder) {
    Class c = a;
    for (size_t i = 0; i < 256; i++) c.counts[i] += b.counts[i];
    c.rows += b.rows;
    c.bits = class_bits(c.counts, scan, coder);
    return c;
}

// Order-0 bits of naming the class of each row.
double naming_bits(const std::vector<Class>& classes, uint64_t rows) {
    if (classes.size() < 2) return 0;
    double bits = 300;  // table and states of that stream
    for (const Class& c : classes) bits += double(c.rows) * (log2_of(rows) - log2_of(c.rows));
    return bits;
}

// Rows by key, those of one key in their own order.
std::vector<uint32_t> sort_rows(const std::vector<uint16_t>& key) {
    std::vector<uint32_t> at(RowScan::kKeys + 1, 0), order(key.size());
    for (uint16_t k : key) at[k + 1u]++;
    for (size_t k = 1; k < at.size(); k++) at[k] += at[k - 1];
    for (size_t r = 0; r < key.size(); r++) order[at[key[r]]++] = uint32_t(r);
    return order;
}

// Classes of equal size, of rows in this order.
std::vector<Class> divide(const RowScan& scan, const std::vector<uint32_t>& order, CoderTraits coder, int most) {
    const size_t rows = order.size();
    std::vector<size_t> offset(rows + 1, 0);
    for (size_t r = 0; r < rows; r++) offset[r + 1] = offset[r] + scan.probed[r];

    const size_t wanted = std::min<size_t>(size_t(most), rows);
    std::vector<Class> classes(wanted);
    Counter counter;
    for (size_t i = 0; i < rows; i++) {
        Class& c = classes[i * wanted / rows];
        c.rows++;
        const size_t r = order[i];
        counter.add(scan.symbols.data() + offset[r], offset[r + 1] - offset[r]);
        if (i + 1 == rows || (i + 1) * wanted / rows != i * wanted / rows) c.counts = counter.take();
    }
    for (Class& c : classes) c.bits = class_bits(c.counts, scan, coder);
    return classes;
}

// Joins neighbours, those first that it serves best, while that saves bits.
std::vector<Class> join_neighbours(std::vector<Class> classes, const RowScan& scan, CoderTraits coder) {
    const uint64_t rows = scan.key.size();
    std::vector<Class> joined(classes.size() ? classes.size() - 1 : 0);
    for (size_t i = 0; i + 1 < classes.size(); i++) joined[i] = join(classes[i], classes[i + 1], scan, coder);
    while (classes.size() > 1) {
        size_t best = 0;
        double gain = -1e300;
        for (size_t i = 0; i < joined.size(); i++) {
            const double saved = classes[i].bits + classes[i + 1].bits - joined[i].bits;
            if (saved > gain) {
                gain = saved;
                best = i;
            }
        }
        std::vector<Class> fewer = classes;
        fewer[best] = joined[best];
        fewer.erase(fewer.begin() + ptrdiff_t(best) + 1);
        // At the last two classes are joined only if one table is better than two with their naming.
        if (gain + naming_bits(classes, rows) - naming_bits(fewer, rows) <= 0) break;
        classes = std::move(fewer);
        joined.erase(joined.begin() + ptrdiff_t(best));
        if (best > 0) joined[best - 1] = join(classes[best - 1], classes[best], scan, coder);
        if (best < joined.size()) joined[best] = join(classes[best], classes[best + 1], scan, coder);
    }
    return classes;
}

// The greedy path can stop at a local optimum that one table beats.
std::vector<Class> or_one(std::vector<Class> classes, const RowScan& scan, CoderTraits coder) {
    if (classes.size() < 2) return classes;
    Class all = classes[0];
    for (size_t i = 1; i < classes.size(); i++) all = join(all, classes[i], scan, coder);
    double several = naming_bits(classes, scan.key.size());
    for (const Class& c : classes) several += c.bits;
    return all.bits <= several ? std::vector<Class>{all} : classes;
}

}  // namespace

Contexts choose_contexts(const RowScan& scan, CoderTraits coder, int most) {
    const size_t rows = scan.key.size();
    const std::vector<uint32_t> order = sort_rows(scan.key);
    const std::vector<Class> classes = or_one(join_neighbours(divide(scan, order, coder, most), scan, coder), scan, coder);
    Contexts result;
    result.bits = naming_bits(classes, rows);
    if (classes.size() > 1) {
        result.table_of.resize(rows);
        size_t at = 0;
        for (size_t c = 0; c < classes.size(); c++)
            for (uint64_t i = 0; i < classes[c].rows; i++) result.table_of[order[at++]] = uint8_t(c);
    }
    for (const Class& c : classes) {
        const Histogram counts = scaled(c.counts, scan.expansion);
        result.tables.push_back(make_table(counts, coder, scan.sampled));
        result.bits += cost_bits(counts, result.tables.back(), coder);
    }
    return result;
}

}  // namespace taut
