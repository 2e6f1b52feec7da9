#include "contexts.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace laconic {
namespace {

struct Class {
    Histogram counts{};
    uint64_t rows = 0;
    double bits = 0;  // of its symbols and table
};

Histogram scaled(const Histogram& h, double by) {
    if (by == 1) return h;
    Histogram s;
    for (size_t i = 0; i < 256; i++) s[i] = uint32_t(h[i] * by + 0.5);
    return s;
}

double class_bits(const Histogram& counts, const RowScan& scan, CoderTraits coder) {
    return cost_bits(scaled(counts, scan.expansion), coder, scan.sampled);
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
    for (const Class& c : classes) bits += double(c.rows) * std::log2(double(rows) / double(c.rows));
    return bits;
}

}  // namespace

Contexts choose_contexts(const RowScan& scan, CoderTraits coder, int most) {
    const size_t rows = scan.scale.size();
    std::vector<uint32_t> order(rows);
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return scan.scale[a] < scan.scale[b]; });
    std::vector<size_t> offset(rows + 1, 0);
    for (size_t r = 0; r < rows; r++) offset[r + 1] = offset[r] + scan.probed[r];

    const size_t wanted = std::min<size_t>(size_t(most), rows);
    std::vector<Class> classes(wanted);
    for (size_t i = 0; i < rows; i++) {
        Class& c = classes[i * wanted / rows];
        c.rows++;
        const size_t r = order[i];
        for (size_t j = offset[r]; j < offset[r + 1]; j++) c.counts[scan.symbols[j]]++;
    }
    for (Class& c : classes) c.bits = class_bits(c.counts, scan, coder);

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
        fewer.erase(fewer.begin() + long(best) + 1);
        // Two classes are joined at the last only if one table is better than two with their naming.
        if (gain + naming_bits(classes, rows) - naming_bits(fewer, rows) <= 0) break;
        classes = std::move(fewer);
        joined.erase(joined.begin() + long(best));
        if (best > 0) joined[best - 1] = join(classes[best - 1], classes[best], scan, coder);
        if (best < joined.size()) joined[best] = join(classes[best], classes[best + 1], scan, coder);
    }
    // The greedy path can stop at a local optimum that one table beats.
    if (classes.size() > 1) {
        Class all = classes[0];
        for (size_t i = 1; i < classes.size(); i++) all = join(all, classes[i], scan, coder);
        double several = naming_bits(classes, rows);
        for (const Class& c : classes) several += c.bits;
        if (all.bits <= several) classes.assign(1, all);
    }

    Contexts result;
    result.bits = naming_bits(classes, rows);
    if (classes.size() > 1) {
        result.table_of.resize(rows);
        size_t at = 0;
        for (size_t c = 0; c < classes.size(); c++)
            for (uint64_t i = 0; i < classes[c].rows; i++) result.table_of[order[at++]] = uint8_t(c);
    }
    for (const Class& c : classes) {
        result.bits += c.bits;
        result.tables.push_back(make_table(scaled(c.counts, scan.expansion), coder, scan.sampled));
    }
    return result;
}

}  // namespace laconic
