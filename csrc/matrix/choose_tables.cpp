// Which tables suit a context's counts: frequencies one by one, or slopes that fall alike on both sides.
#include <algorithm>

#include "matrix/tables.hpp"

namespace taut {
namespace {

// Bits of coding these counts with this table, escapes with their tail.
double coding_bits(const Histogram& counts, const Table& t, CoderTraits coder) {
    double bits = 0;
    Histogram tail{};
    uint64_t escapes = 0;
    for (int b = 0; b < 256; b++) {
        const uint32_t n = counts[size_t(b)];
        if (!n) continue;
        const int local = b - t.first + 1;
        const uint16_t f = local > 0 && local < 1 << t.bucket_bits ? t.frequency[size_t(local)] : 0;
        if (f) {
            bits += n * (coder.prob_bits - log2_of(f));
        } else {
            tail[size_t(b)] = n;
            escapes += n;
        }
    }
    if (!escapes) return bits;
    if (!t.frequency[0]) return 1e300;
    const double price = coder.prob_bits == kFast.prob_bits ? 2 : 0;  // an escape takes time, too
    return bits + double(escapes) * (coder.prob_bits - log2_of(t.frequency[0]) + price) +
           std::min(8.0 * double(escapes), entropy_bits(tail) + 60);
}

// More buckets take more time to decode.
double preferred(double bits, int bucket_bits, CoderTraits coder) {
    return bits * (1 + (coder.prob_bits == kFast.prob_bits ? 0.002 : 0.0005) * (bucket_bits - 4));
}

// Slopes that suit these counts, for magnitudes up to `most`.
Slopes fit(const Histogram& counts, int most, int unit) {
    Slopes s;
    s.unit = unit;
    const auto fall = [&](double weight_of_middle, double n) {  // in octaves; n in 256ths
        return log2_of(uint64_t(weight_of_middle * 256) + 64) - log2_of(uint64_t(n * 256) + 64);
    };
    const double middle = counts[128];
    double escaped = 0;
    for (int b = 0; b < 256; b++)
        if (std::abs(b - 128) > most) escaped += counts[size_t(b)];
    for (int k = 1; k <= most; k++) {
        const double both = double(counts[size_t(128 + k)]) + double(counts[size_t(128 - k)]);
        const double units = fall(middle, both / 2) * (2 << unit);
        const int rounded = int(units + 1024.5) - 1024;
        s.fall.push_back(std::clamp(rounded, -(4 << unit), 32 << unit));
    }
    if (escaped > 0) s.escape = std::clamp(int(fall(middle, escaped) * 4 + 64.5) - 64, 0, 63);
    return s;
}

struct Choice {
    ContextTables context;
    double price = 1e300;
};

void try_slopes(const std::vector<Histogram>& counts, CoderTraits coder, int most, int unit, Choice& best) {
    ContextTables c;
    c.bits = 1 + 6 + 2;
    for (const Histogram& h : counts) {
        const Slopes s = fit(h, most, unit);
        Table t;
        const Rice rice = best_rice(changes(s), 3);
        if (rice.bits == kNoRice || !set_frequencies(s, t, coder)) return;
        c.bits += 1 + (s.escape >= 0 ? 6 : 0) + 2 + rice.bits + coding_bits(h, t, coder);
        c.tables.push_back(t);
        c.slopes.push_back(s);
    }
    const double price = preferred(c.bits, c.tables[0].bucket_bits, coder);
    if (price < best.price) best = {std::move(c), price};
}

void try_frequencies(const std::vector<Histogram>& counts, const Histogram& all, CoderTraits coder, Choice& best) {
    const Table window = make_table(all, coder, false);
    int count = 1;
    for (int i = 1; i < 1 << window.bucket_bits; i++)
        if (window.frequency[size_t(i)]) count = i;
    ContextTables c;
    c.bits = 1 + 16;
    const int whole = 1 << coder.prob_bits;
    for (const Histogram& h : counts) {
        std::vector<double> share(size_t(count) + 1, 0.0);
        double n = 0, kept = 0;
        int alive = 0;
        for (uint32_t v : h) n += v;
        for (int i = 1; i <= count; i++) {
            const double v = h[size_t(window.first + i - 1)];
            if (v <= (coder.prob_bits == kFast.prob_bits ? 0.2 : 0.4) * n / whole) continue;
            share[size_t(i)] = v;
            kept += v;
            alive++;
        }
        if (n == 0) share[1] = kept = n = alive = 1;
        if (n > kept || alive == 1) share[0] = std::max(n - kept, 0.25 * n / whole);
        if (kept == 0) share[1] = kept = 0.25 * n / whole;
        Table t;
        t.first = window.first;
        apportion(share, kept + share[0], whole, t.frequency.data());
        c.tables.push_back(t);
    }
    const int last = last_of(c.tables);
    for (size_t i = 0; i < counts.size(); i++) {
        c.tables[i].bucket_bits = buckets_for(last, coder);
        const Rice rice = best_rice(differences(c.tables[i], last), 12);
        if (rice.bits == kNoRice) return;
        c.bits += 4 + rice.bits + coding_bits(counts[i], c.tables[i], coder);
    }
    const double price = preferred(c.bits, c.tables[0].bucket_bits, coder);
    if (price < best.price) best = {std::move(c), price};
}

}  // namespace

ContextTables make_context(const std::vector<Histogram>& counts, CoderTraits coder) {
    Histogram all{};
    for (const Histogram& h : counts)
        for (size_t b = 0; b < 256; b++) all[b] += h[b];
    Choice best;
    try_frequencies(counts, all, coder, best);
    uint64_t n = 0, beyond = 0;
    for (uint32_t v : all) n += v;
    const int most = ((1 << coder.max_bucket_bits) - 2) / 2;
    int widest = 1;
    for (int k = 1; k <= 127; k++)
        if (all[size_t(128 - k)] || all[size_t(128 + k)]) widest = k;
    // From the widest window inwards, as long as few would be escapes.
    bool tried = false;
    for (int k = widest; k >= 1 && !(tried && beyond > std::max<uint64_t>(4, n / 100)); k--) {
        if (k <= std::min(63, most)) {
            for (int unit = 0; unit < 4; unit++) try_slopes(counts, coder, k, unit, best);
            tried = true;
        }
        beyond += all[size_t(128 - k)] + all[size_t(128 + k)];
    }
    return best.context;
}

}  // namespace taut
