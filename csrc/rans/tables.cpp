#include "rans/tables.hpp"

#include <algorithm>
#include <bit>

namespace taut {
namespace {

constexpr int kLogBits = 12;  // numbers up to 2^12 have their own logarithm

// log2(n) in units of 2^-32 by repeated squaring, n <= 2^12. Not std::log2: libraries differ in its last bit, and
// what is chosen by cost must not differ between machines.
double small_log2(uint64_t n) {
    const int whole = int(std::bit_width(n)) - 1;
    uint64_t x = n << (31 - whole), bits = 0;  // in [1, 2), 31 bits of fraction
    for (int i = 0; i < 32; i++) {
        x = x * x >> 31;
        const uint64_t two = x >> 32;
        x >>= two;
        bits = bits << 1 | two;
    }
    return double(uint64_t(whole) << 32 | bits) / 4294967296.0;
}

using LogTable = std::array<double, (1 << kLogBits) + 1>;
const LogTable& log2_table() {
    static const LogTable table = [] {
        LogTable t{};
        for (size_t i = 1; i < t.size(); i++) t[i] = small_log2(i);
        return t;
    }();
    return table;
}

double log2_in(const LogTable& lg, uint64_t n) {
    if (n < lg.size()) return lg[n];
    const int drop = int(std::bit_width(n)) - kLogBits;
    const uint64_t i = n >> drop, rest = n & ((uint64_t(1) << drop) - 1);
    return drop + lg[i] + double(rest) / double(uint64_t(1) << drop) * (lg[i + 1] - lg[i]);
}

uint64_t total(const Histogram& counts) {
    uint64_t n = 0;
    for (uint32_t c : counts) n += c;
    return n;
}

// The window of at most `width` bytes that holds most of the mass, shrunk to the bytes that occur.
struct Window {
    int first, count;
};
Window best_window(const Histogram& counts, int width) {
    uint64_t sum = 0, best = 0;
    int start = 0;
    for (int i = 0; i < 256; i++) {
        sum += counts[i];
        if (i >= width) sum -= counts[i - width];
        if (sum > best) {
            best = sum;
            start = std::max(0, i - width + 1);
        }
    }
    int first = start, last = std::min(255, start + width - 1);
    while (first < last && counts[first] == 0) first++;
    while (last > first && counts[last] == 0) last--;
    return {first, last - first + 1};
}

// The last local symbol with a slot; what a reader sees, so the number of buckets follows from it.
int last_local(const Table& t) {
    int last = 1;
    for (int i = 1; i < 256; i++)
        if (t.frequency[size_t(i)]) last = i;
    return last;
}

// The cheapest Rice parameter for the frequencies' successive differences, and the bits they take with it.
struct Rice {
    int k, bits;
};
Rice best_rice(const Table& t, int count) {
    std::array<uint16_t, 257> z;
    uint32_t largest = 0;
    int previous = 0;
    for (int i = 0; i <= count; i++) {
        z[size_t(i)] = uint16_t(zigzag(int(t.frequency[size_t(i)]) - previous));
        if (i > 0) previous = t.frequency[size_t(i)];  // the escape's frequency predicts nothing
        largest = std::max<uint32_t>(largest, z[size_t(i)]);
    }
    Rice best{0, 1 << 30};
    for (int k = 0; k <= 12; k++) {
        if (largest >> k >= kMaxQuotient) continue;
        uint32_t quotients = 0;
        for (int i = 0; i <= count; i++) quotients += uint32_t(z[size_t(i)] >> k);
        const int bits = int(quotients) + (count + 1) * (1 + k);
        if (bits >= best.bits) break;  // convex in k
        best = {k, bits};
    }
    return best;
}

}  // namespace

// Rounds shares of `sum` to integers >= 1 (for nonzero shares) that add up to `sum`, then repairs the total where
// it costs least: the gain of one more slot for symbol i is c_i log2((f_i + 1) / f_i).
void apportion(const std::vector<double>& counts, double n, int sum, uint16_t* frequency) {
    const auto& lg = log2_table();
    int left = sum;
    const int cap = sum - 1;
    for (size_t i = 0; i < counts.size(); i++) {
        frequency[i] = 0;
        if (counts[i] <= 0) continue;
        frequency[i] = uint16_t(std::clamp(int(counts[i] * sum / n + 0.5), 1, cap));
        left -= frequency[i];
    }
    while (left != 0) {
        double best = -1e300;
        int pick = -1;
        for (size_t i = 0; i < counts.size(); i++) {
            if (frequency[i] == 0) continue;
            double gain;
            if (left > 0) {
                if (frequency[i] >= cap) continue;
                gain = counts[i] * (lg[frequency[i] + 1] - lg[frequency[i]]);
            } else {
                if (frequency[i] <= 1) continue;
                gain = -counts[i] * (lg[frequency[i]] - lg[frequency[i] - 1]);
            }
            if (gain > best) {
                best = gain;
                pick = int(i);
            }
        }
        const int move = left > 0 ? 1 : -1;
        frequency[pick] = uint16_t(frequency[pick] + move);
        left -= move;
    }
}

void Counter::add(const uint8_t* bytes, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t k = 0; k < 4; k++) parts_[k][bytes[i + k]]++;
    for (; i < n; i++) parts_[0][bytes[i]]++;
}

Histogram Counter::take() {
    Histogram sum = parts_[0];
    for (size_t i = 0; i < 256; i++) sum[i] += parts_[1][i] + parts_[2][i] + parts_[3][i];
    parts_ = {};
    return sum;
}

double log2_of(uint64_t n) { return log2_in(log2_table(), n); }

double entropy_bits(const Histogram& counts) {
    const LogTable& lg = log2_table();
    const uint64_t n = total(counts);
    double bits = n ? double(n) * log2_in(lg, n) : 0;
    for (uint32_t c : counts)
        if (c) bits -= c * log2_in(lg, c);
    return bits;
}

Table make_table(const Histogram& counts, CoderTraits coder, bool sampled) {
    const int sum = 1 << coder.prob_bits;
    const double n = std::max<double>(1.0, double(total(counts)));
    Table t;
    const Window window = best_window(counts, (1 << coder.max_bucket_bits) - 1);
    std::vector<double> share(size_t(window.count) + 1, 0.0);
    // A slot costs at least 1 / sum of the code space; rarer symbols are cheaper as escapes. The fast coder keeps
    // some of them all the same, since every escape takes time.
    const double threshold = (coder.prob_bits == kFast.prob_bits ? 0.2 : 0.4) * n / sum;
    double kept = 0;
    for (int i = 0; i < window.count; i++) {
        const double c = counts[size_t(window.first + i)];
        if (c > threshold) {
            share[size_t(i) + 1] = c;
            kept += c;
        }
    }
    if (kept == 0) share[1] = kept = 1;
    // Rare bytes at the window's low end may have gone: fewer local symbols mean fewer lookups.
    const auto begin = std::find_if(share.begin() + 1, share.end(), [](double s) { return s > 0; });
    t.first = uint8_t(window.first + (begin - share.begin()) - 1);
    share.erase(share.begin() + 1, begin);
    const double escaped = std::max(0.0, n - kept);
    int alive = 0;
    for (double s : share) alive += s > 0;
    // A sole symbol of probability one would need the frequency 2^prob_bits: the escape takes one slot from it.
    if (escaped > 0 || sampled || alive == 1) share[0] = std::max(escaped, 0.25 * n / sum);
    apportion(share, kept + share[0], sum, t.frequency.data());
    t.bucket_bits = bucket_bits_for(last_local(t), coder);
    build_alias(t, coder.prob_bits);
    return t;
}

double cost_bits(const Histogram& counts, CoderTraits coder, bool sampled) {
    return cost_bits(counts, make_table(counts, coder, sampled), coder);
}

double cost_bits(const Histogram& counts, const Table& t, CoderTraits coder) {
    const auto& lg = log2_table();
    const int locals = 1 << t.bucket_bits;
    double bits = 0;
    Histogram tail{};
    uint64_t escapes = 0;
    for (int b = 0; b < 256; b++) {
        if (!counts[size_t(b)]) continue;
        const int local = b - t.first + 1;
        const bool coded = local > 0 && local < locals && t.frequency[size_t(local)];
        if (coded) {
            bits += counts[size_t(b)] * (coder.prob_bits - lg[t.frequency[size_t(local)]]);
        } else {
            tail[size_t(b)] = counts[size_t(b)];
            escapes += counts[size_t(b)];
        }
    }
    // An escape costs time too, which the fast coder is there to save: it is charged two bits more there.
    const double price = coder.prob_bits == kFast.prob_bits ? 2 : 0;
    if (escapes)
        bits += escapes * (coder.prob_bits - lg[std::max<int>(1, t.frequency[0])] + price) + entropy_bits(tail) * 1.01;
    return bits + 8 + 8 + 4 + best_rice(t, last_local(t)).bits;
}

void write_table(BitWriter& out, const Table& t) {
    const int count = last_local(t), k = best_rice(t, count).k;
    out.put(t.first, 8);
    out.put(uint64_t(count), 8);
    out.put(uint64_t(k), 4);
    int previous = 0;
    for (int i = 0; i <= count; i++) {
        const uint32_t z = zigzag(int(t.frequency[size_t(i)]) - previous);
        if (i > 0) previous = t.frequency[size_t(i)];
        for (uint32_t q = 0; q < z >> k; q++) out.put(1, 1);
        out.put(0, 1);
        out.put(z & ((1u << k) - 1), k);
    }
}

}  // namespace taut
