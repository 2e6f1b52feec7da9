// Tables of a matrix's contexts. A small matrix cannot pay for frequencies one by one: where they fall away from zero
// alike on both sides, their slopes are written instead, once, in parts of an octave.
#include <algorithm>
#include <bit>

#include "matrix/layout.hpp"

namespace taut {
namespace {

constexpr int kMostOnes = 32, kSteepest = 1024, kSteepestUp = 128;  // sixteenths of an octave
constexpr uint32_t kMantissa[16] = {0x800000, 0x85aac3, 0x8b95c2, 0x91c3d3, 0x9837f0, 0x9ef532, 0xa5fed7, 0xad583f,
                                    0xb504f3, 0xbd08a4, 0xc5672a, 0xce248c, 0xd744fd, 0xe0ccdf, 0xeac0c7, 0xf5257d};

uint32_t zigzag(int v) { return uint32_t(v) << 1 ^ uint32_t(v >> 31); }
int unzigzag(uint32_t z) { return int(z >> 1 ^ (~(z & 1) + 1)); }

int buckets_for(int count, CoderTraits coder) {
    int bits = coder.min_bucket_bits;
    while ((1 << bits) - 1 < count) bits++;
    return bits;
}

// 2^(23 - fall / 16), rounded down.
uint64_t weight(int fall) {
    const int octave = -fall >> 4;
    const uint64_t m = kMantissa[-fall & 15];
    return octave >= 0 ? m << octave : octave > -64 ? m >> -octave : 0;
}

// Frequencies from slopes. Rounding goes to the middle's account.
bool set_frequencies(const Slopes& s, Table& t, CoderTraits coder) {
    const int whole = 1 << coder.prob_bits, most = int(s.fall.size());
    t.first = uint8_t(128 - most);
    t.bucket_bits = buckets_for(2 * most + 1, coder);
    uint64_t sum = weight(0) + (s.escape >= 0 ? weight(4 * s.escape) : 0);
    for (size_t k = 0; k < s.fall.size(); k++) {
        if (s.sixteenths(k) > kSteepest || s.sixteenths(k) < -kSteepestUp) return false;
        sum += 2 * weight(s.sixteenths(k));
    }
    const auto share = [&](int fall) {
        return std::max(1, int((2 * weight(fall) * uint64_t(whole) + sum) / (2 * sum)));
    };
    int left = whole;
    if (s.escape >= 0) left -= t.frequency[0] = uint16_t(share(4 * s.escape));
    for (int k = 1; k <= most; k++) {
        const uint16_t f = uint16_t(share(s.sixteenths(size_t(k - 1))));
        t.frequency[size_t(1 + most + k)] = t.frequency[size_t(1 + most - k)] = f;
        left -= 2 * f;
    }
    t.frequency[size_t(1 + most)] = uint16_t(std::max(0, left));
    return left > 0 && left < whole;
}

// --- bits ----------------------------------------------------------------------------------------------------------

struct Rice {
    int k = 0, bits = 1 << 30;
};
Rice best_rice(const std::vector<uint32_t>& z, int most_k, uint32_t most_ones) {
    Rice best;
    for (int k = 0; k <= most_k; k++) {
        int bits = 0;
        bool fits = true;
        for (uint32_t v : z) {
            fits &= v >> k <= most_ones;
            bits += int(v >> k) + 1 + k;
        }
        if (fits && bits < best.bits) best = {k, bits};
    }
    return best;
}

void put_rice(BitWriter& out, const std::vector<uint32_t>& z, int k) {
    for (uint32_t v : z) {
        out.put((uint64_t(1) << (v >> k)) - 1, int(v >> k) + 1);
        out.put(v & ((1u << k) - 1), k);
    }
}

bool get_rice(BitReader& in, int k, uint32_t most_ones, uint32_t& z) {
    const uint32_t ones = in.ones(most_ones);
    z = ones << k | uint32_t(in.get(k));
    return ones <= most_ones;
}

// What is written of each magnitude: how the slope changes.
std::vector<uint32_t> changes(const Slopes& s) {
    std::vector<uint32_t> z;
    int before = 0, slope = 0;
    for (int fall : s.fall) {
        z.push_back(zigzag(fall - before - slope));
        slope = fall - before;
        before = fall;
    }
    return z;
}

// What is written of each frequency: the difference to the one before, the escape's apart.
std::vector<uint32_t> differences(const Table& t, int count) {
    std::vector<uint32_t> z;
    int before = 0;
    for (int i = 0; i <= count; i++) {
        z.push_back(zigzag(int(t.frequency[size_t(i)]) - before));
        if (i > 0) before = t.frequency[size_t(i)];  // the escape's frequency predicts nothing
    }
    return z;
}

// The last local symbol that has a slot in any of them.
int last_of(const std::vector<Table>& tables) {
    int last = 1;
    for (const Table& t : tables)
        for (int i = last + 1; i < 256; i++)
            if (t.frequency[size_t(i)]) last = i;
    return last;
}

// --- choosing ------------------------------------------------------------------------------------------------------

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
        const Rice rice = best_rice(changes(s), 3, kMostOnes);
        if (rice.bits == 1 << 30 || !set_frequencies(s, t, coder)) return;
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
        const Rice rice = best_rice(differences(c.tables[i], last), 12, kMostOnes);
        if (rice.bits == 1 << 30) return;
        c.bits += 4 + rice.bits + coding_bits(counts[i], c.tables[i], coder);
    }
    const double price = preferred(c.bits, c.tables[0].bucket_bits, coder);
    if (price < best.price) best = {std::move(c), price};
}

bool read_slopes(BitReader& in, int most, int unit, Table& t, CoderTraits coder) {
    Slopes s;
    s.unit = unit;
    if (in.get(1)) s.escape = int(in.get(6));
    const int k = int(in.get(2));
    int fall = 0, slope = 0;
    for (int i = 0; i < most; i++) {
        uint32_t z;
        if (!get_rice(in, k, kMostOnes, z)) return false;
        slope += unzigzag(z);
        fall += slope;
        if (std::abs(fall) > kSteepest) return false;
        s.fall.push_back(fall);
    }
    return in.ok() && set_frequencies(s, t, coder);
}

bool read_frequencies(BitReader& in, int first, int count, Table& t, CoderTraits coder) {
    const int k = int(in.get(4)), whole = 1 << coder.prob_bits;
    if (k > 12) return false;
    t.first = uint8_t(first);
    t.bucket_bits = buckets_for(count, coder);
    int before = 0, sum = 0;
    for (int i = 0; i <= count; i++) {
        uint32_t z;
        if (!get_rice(in, k, kMostOnes, z)) return false;
        const int value = before + unzigzag(z);
        if (value < 0 || value >= whole) return false;
        if (i > 0) before = value;
        t.frequency[size_t(i)] = uint16_t(value);
        sum += value;
    }
    return in.ok() && sum == whole;
}

bool read_context(BitReader& in, Table* tables, size_t quantisers, CoderTraits coder) {
    const int widest = (1 << coder.max_bucket_bits) - 1;
    if (in.get(1)) {
        const int most = int(in.get(6)), unit = int(in.get(2));
        if (most < 1 || 2 * most + 1 > widest) return false;
        for (size_t i = 0; i < quantisers; i++)
            if (!read_slopes(in, most, unit, tables[i], coder)) return false;
        return true;
    }
    const int first = int(in.get(8)), count = int(in.get(8));
    if (count < 1 || count > widest || first + count > 256) return false;
    for (size_t i = 0; i < quantisers; i++)
        if (!read_frequencies(in, first, count, tables[i], coder)) return false;
    return true;
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

std::vector<uint8_t> write_contexts(const std::vector<ContextTables>& contexts) {
    BitWriter out;
    for (const ContextTables& c : contexts) {
        const Table& t = c.tables[0];
        out.put(!c.slopes.empty(), 1);
        if (!c.slopes.empty()) {
            out.put(c.slopes[0].fall.size(), 6);
            out.put(uint64_t(c.slopes[0].unit), 2);
            for (const Slopes& s : c.slopes) {
                out.put(s.escape >= 0, 1);
                if (s.escape >= 0) out.put(uint64_t(s.escape), 6);
                const std::vector<uint32_t> z = changes(s);
                const int k = best_rice(z, 3, kMostOnes).k;
                out.put(uint64_t(k), 2);
                put_rice(out, z, k);
            }
            continue;
        }
        const int count = last_of(c.tables);
        out.put(t.first, 8);
        out.put(uint64_t(count), 8);
        for (const Table& of : c.tables) {
            const std::vector<uint32_t> z = differences(of, count);
            const int k = best_rice(z, 12, kMostOnes).k;
            out.put(uint64_t(k), 4);
            put_rice(out, z, k);
        }
    }
    return out.finish();
}

bool read_contexts(BitReader& in, std::vector<Table>& tables, size_t contexts, size_t quantisers, CoderTraits coder) {
    tables.assign(contexts * quantisers, Table{});
    for (size_t c = 0; c < contexts; c++)
        if (!read_context(in, tables.data() + c * quantisers, quantisers, coder)) return false;
    finish_tables(tables, coder);
    return true;
}

void finish_tables(std::vector<Table>& tables, CoderTraits coder) {
    int bits = coder.min_bucket_bits;
    for (const Table& t : tables) bits = std::max(bits, t.bucket_bits);
    for (Table& t : tables) {
        t.bucket_bits = bits;
        build_alias(t, coder.prob_bits);
    }
}

}  // namespace taut
