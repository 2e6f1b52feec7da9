#include "records/write.hpp"

#include <algorithm>
#include <stdexcept>

namespace taut {
namespace {

using Elements = std::array<uint64_t, 256>;

struct ContextClass {
    Elements counts{};
    double bits = 0;
    std::vector<uint8_t> buckets;
};

// Bits of these elements with a table of their own, and of the table.
double cost_of(const Elements& counts) {
    uint64_t n = 0;
    for (uint64_t c : counts) n += c;
    if (!n) return 0;
    constexpr double per_symbol = 7, per_table = 24;
    double bits = per_table;
    const double all = log2_of(n);
    for (uint64_t c : counts)
        if (c) bits += double(c) * std::min(12.0, all - log2_of(c)) + per_symbol;
    return bits;
}

Elements elements_of(const RecordField& f, const std::array<uint64_t, 256>& symbols) {
    Elements counts{};
    const size_t mask = (size_t(1) << f.bits) - 1;
    for (size_t s = 0; s < size_t(1) << f.width(); s++)
        for (int k = 0; k < f.elements; k++) counts[s >> (k * f.bits) & mask] += symbols[s];
    return counts;
}

ContextClass join(const ContextClass& a, const ContextClass& b) {
    ContextClass c = a;
    for (size_t i = 0; i < 256; i++) c.counts[i] += b.counts[i];
    c.buckets.insert(c.buckets.end(), b.buckets.begin(), b.buckets.end());
    c.bits = cost_of(c.counts);
    return c;
}

// Joins the two classes that it serves best, of neighbours or of any, until none gains and few enough are left.
void join_classes(std::vector<ContextClass>& classes, bool neighbours, size_t most) {
    const auto gain = [&](size_t i, size_t j) {
        return classes[i].bits + classes[j].bits - join(classes[i], classes[j]).bits;
    };
    std::vector<std::vector<double>> gains(classes.size());
    const auto last = [&](size_t i) { return neighbours ? std::min(i + 2, classes.size()) : classes.size(); };
    for (size_t i = 0; i < classes.size(); i++)
        for (size_t j = i + 1; j < last(i); j++) gains[i].push_back(gain(i, j));
    while (classes.size() > 1) {
        size_t a = 0, b = 1;
        double best = -1e300;
        for (size_t i = 0; i < classes.size(); i++)
            for (size_t j = i + 1; j < last(i); j++)
                if (gains[i][j - i - 1] > best) best = gains[i][j - i - 1], a = i, b = j;
        if (best <= 0 && classes.size() <= most) return;
        classes[a] = join(classes[a], classes[b]);
        classes.erase(classes.begin() + ptrdiff_t(b));
        gains.erase(gains.begin() + ptrdiff_t(b));
        for (size_t i = 0; i < classes.size(); i++) {
            if (neighbours) {
                if (i + 1 == a || i == a || i + 1 == b) gains[i].assign(i + 1 < classes.size(), 0);
                if ((i + 1 == a || i == a || i + 1 == b) && i + 1 < classes.size()) gains[i][0] = gain(i, i + 1);
                continue;
            }
            if (i < b) gains[i].erase(gains[i].begin() + ptrdiff_t(b - i - 1));
            if (i == a)
                for (size_t j = i + 1; j < classes.size(); j++) gains[i][j - i - 1] = gain(i, j);
            else if (i < a) gains[i][a - i - 1] = gain(i, a);
        }
    }
}

std::array<uint16_t, 256> frequencies_of(const RecordField& f, const Elements& counts) {
    std::array<uint16_t, 256> frequency{};
    const size_t size = size_t(1) << f.bits;
    std::vector<double> shares(size);
    double n = 0;
    for (size_t i = 0; i < size; i++) n += shares[i] = double(counts[i]);
    constexpr int whole = 1 << Dense::prob_bits;
    const size_t used = size_t(std::count_if(shares.begin(), shares.end(), [](double c) { return c > 0; }));
    if (used > 1) {
        apportion(shares, n, whole, frequency.data());
        return frequency;
    }
    const size_t only = size_t(std::max_element(shares.begin(), shares.end()) - shares.begin());
    frequency[only] = whole - 1;  // no frequency is all of it
    frequency[only ? only - 1 : 1] = 1;
    return frequency;
}

uint32_t zigzag(int64_t v) { return uint32_t(v << 1 ^ v >> 63); }

void write_elements(BitWriter& out, const std::array<uint16_t, 256>& frequency) {
    size_t first = 0, last = 255;
    while (!frequency[first]) first++;
    while (!frequency[last]) last--;
    int best = 0;
    uint64_t least = ~uint64_t(0);
    for (int k = 0; k <= 12; k++) {
        uint64_t bits = 0;
        int before = 0;
        for (size_t s = first; s <= last; s++) {
            const uint32_t z = zigzag(int(frequency[s]) - before);
            before = frequency[s];
            bits += z >> k < kMaxQuotient ? (z >> k) + 1 + uint64_t(k) : uint64_t(1) << 32;
        }
        if (bits < least) least = bits, best = k;
    }
    out.put(first, 8);
    out.put(last, 8);
    out.put(uint64_t(best), 4);
    int before = 0;
    for (size_t s = first; s <= last; s++) {
        const uint32_t z = zigzag(int(frequency[s]) - before), ones = z >> best;
        before = frequency[s];
        out.put((uint64_t(1) << ones) - 1, int(ones) + 1);
        out.put(z & ((1u << best) - 1), best);
    }
}

}  // namespace

FieldPlan plan_field(const RecordField& f, const BucketCounts& counts) {
    std::vector<ContextClass> classes;
    double total = 0;
    for (size_t b = 0; b < counts.size(); b++) {
        uint64_t n = 0;
        for (uint64_t c : counts[b]) n += c;
        total += double(n);
        if (!n) continue;
        ContextClass& c = classes.emplace_back();
        c.counts = elements_of(f, counts[b]);
        c.bits = cost_of(c.counts);
        c.buckets.push_back(uint8_t(b));
    }
    FieldPlan plan;
    if (classes.empty()) return plan;
    join_classes(classes, true, classes.size());
    join_classes(classes, false, size_t(kMaxRecordContexts));
    double bits = 8.0 * f.buckets * (classes.size() > 1);
    for (const ContextClass& c : classes) bits += c.bits;
    if (classes.size() > 1) {  // what was joined step by step may do worse than one
        ContextClass one = classes[0];
        for (size_t c = 1; c < classes.size(); c++) one = join(one, classes[c]);
        if (one.bits <= bits) {
            bits = one.bits;
            classes = {one};
        }
    }
    // A symbol that is coded takes longer to decode than one that is not.
    if (bits * 1.005 >= total * f.width()) return plan;
    for (size_t c = 0; c < classes.size(); c++) {
        plan.contexts.push_back(frequencies_of(f, classes[c].counts));
        for (uint8_t b : classes[c].buckets) plan.map[b] = uint8_t(c);
    }
    return plan;
}

std::vector<uint8_t> write_records_header(ArrayHeader& h, const std::vector<FieldPlan>& plans) {
    std::vector<uint8_t> out = begin_header(h);
    out.push_back(uint8_t(h.coder));
    put_varint(out, h.records.layout.size());
    out.insert(out.end(), h.records.layout.begin(), h.records.layout.end());
    BitWriter bits;
    h.tables.resize(0);
    for (size_t i = 0; i < plans.size(); i++) {
        RecordField& f = h.records.fields[i];
        const FieldPlan& plan = plans[i];
        f.coded = !plan.contexts.empty();
        f.contexts = uint16_t(plan.contexts.size());
        f.map = plan.map;
        f.first_table = uint16_t(h.tables.size());
        out.push_back(f.coded);
        if (!f.coded) continue;
        out.push_back(uint8_t(f.contexts));
        if (f.contexts > 1) {
            put_varint(out, zigzag(f.base));
            out.insert(out.end(), f.map.begin(), f.map.begin() + f.buckets);
        }
        for (const auto& frequency : plan.contexts) {
            write_elements(bits, frequency);
            Table table;
            if (make_record_table(f, frequency, table)) throw std::logic_error("a table of a single symbol");
            h.tables.push_back(table);
        }
    }
    const auto tables = bits.finish();
    out.insert(out.end(), tables.begin(), tables.end());
    return out;
}

}  // namespace taut
