// Tables of a matrix's contexts, written.
#include <algorithm>

#include "matrix/tables.hpp"

namespace taut {
namespace {

void put_rice(BitWriter& out, const std::vector<uint32_t>& z, int k) {
    for (uint32_t v : z) {
        out.put((uint64_t(1) << (v >> k)) - 1, int(v >> k) + 1);
        out.put(v & ((1u << k) - 1), k);
    }
}

}  // namespace

Rice best_rice(const std::vector<uint32_t>& z, int most_k) {
    Rice best;
    for (int k = 0; k <= most_k; k++) {
        int bits = 0;
        bool fits = true;
        for (uint32_t v : z) {
            fits &= v >> k <= kMostTableOnes;
            bits += int(v >> k) + 1 + k;
        }
        if (fits && bits < best.bits) best = {k, bits};
    }
    return best;
}

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

std::vector<uint32_t> differences(const Table& t, int count) {
    std::vector<uint32_t> z;
    int before = 0;
    for (int i = 0; i <= count; i++) {
        z.push_back(zigzag(int(t.frequency[size_t(i)]) - before));
        if (i > 0) before = t.frequency[size_t(i)];  // the escape's frequency predicts nothing
    }
    return z;
}

int last_of(const std::vector<Table>& tables) {
    int last = 1;
    for (const Table& t : tables)
        for (int i = last + 1; i < 256; i++)
            if (t.frequency[size_t(i)]) last = i;
    return last;
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
                const int k = best_rice(z, 3).k;
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
            const int k = best_rice(z, 12).k;
            out.put(uint64_t(k), 4);
            put_rice(out, z, k);
        }
    }
    return out.finish();
}

}  // namespace taut
