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

// How many classes of equal size there are at first, and which of them the i-th row of the order is in.
size_t first_count(size_t rows, int most) { return std::min<size_t>(size_t(most), rows); }
size_t first_class(size_t i, size_t rows, int most) { return i * first_count(rows, most) / rows; }

// Symbols of the rows of each class.
std::vector<Histogram> count_classes(const RowScan& scan, const std::vector<uint32_t>& order, int most) {
    const size_t rows = order.size();
    std::vector<size_t> offset(rows + 1, 0);
    for (size_t r = 0; r < rows; r++) offset[r + 1] = offset[r] + scan.probed[r];
    std::vector<Histogram> counts(first_count(rows, most));
    Counter counter;
    for (size_t i = 0; i < rows; i++) {
        const size_t r = order[i], c = first_class(i, rows, most);
        counter.add(scan.symbols.data() + offset[r], offset[r + 1] - offset[r]);
        if (i + 1 == rows || first_class(i + 1, rows, most) != c) counts[c] = counter.take();
    }
    return counts;
}

std::vector<Class> divide(const RowScan& scan, const std::vector<Histogram>& counts, CoderTraits coder, int most) {
    const size_t rows = scan.key.size();
    std::vector<Class> classes(counts.size());
    for (size_t i = 0; i < rows; i++) classes[first_class(i, rows, most)].rows++;
    for (size_t c = 0; c < classes.size(); c++) {
        classes[c].counts = counts[c];
        classes[c].bits = class_bits(counts[c], scan, coder);
    }
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

std::vector<uint8_t> first_classes(const std::vector<uint16_t>& key, int most) {
    const std::vector<uint32_t> order = sort_rows(key);
    std::vector<uint8_t> classes(key.size());
    for (size_t i = 0; i < order.size(); i++) classes[order[i]] = uint8_t(first_class(i, order.size(), most));
    return classes;
}

Contexts choose_contexts(const RowScan& scan, CoderTraits coder, int most) {
    return choose_contexts(scan, count_classes(scan, sort_rows(scan.key), most), coder, most);
}

Contexts choose_contexts(const RowScan& scan, const std::vector<Histogram>& counts, CoderTraits coder, int most) {
    const size_t rows = scan.key.size();
    const std::vector<uint32_t> order = sort_rows(scan.key);
    const std::vector<Class> classes = or_one(join_neighbours(divide(scan, counts, coder, most), scan, coder), scan, coder);
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
