// Which rows, columns and quantisers share tables.
//
// The spread of a matrix of weights is close to a product of a row's and a column's scale. So rows and columns are put
// into classes of like scale, in quarters of an octave or coarser, and the sum of both classes names a context; then
// neighbouring contexts are joined while that saves bits. How coarse the classes are is tried, as few bits name them.
#include <algorithm>
#include <cstddef>

#include "matrix/layout.hpp"

namespace taut {
namespace {

constexpr int kKeys = 16;        // classes of rows or columns to begin with, a quarter of an octave each
constexpr int kScales = 48, kUnitScale = 20;  // scales that are told apart; number of the one of one step

// e^-y for y >= 0 in basic operations: the same on every machine.
constexpr double exp_minus(double y) {
    int halvings = 0;
    for (; y > 0.25; y /= 2) halvings++;
    double term = 1, sum = 1;
    for (int i = 1; i < 16; i++) sum += term *= -y / i;
    for (; halvings > 0; halvings--) sum *= sum;
    return sum;
}

// The mean magnitude that indices have whose numbers are Laplacian of scale 2^(quarters / 4) steps, rounded to nearest:
// x / (1 - x^2) with x = e^(-1 / (2 scale)).
struct Means {
    std::array<double, kScales> at{};
    constexpr Means() {
        constexpr double quarter[4] = {1, 1.189207115002721, 1.4142135623730951, 1.681792830507429};
        for (int k = 0; k < kScales; k++) {
            double scale = quarter[(k - kUnitScale) & 3];
            for (int o = (k - kUnitScale) >> 2; o > 0; o--) scale *= 2;
            for (int o = (k - kUnitScale) >> 2; o < 0; o++) scale /= 2;
            const double x = exp_minus(1 / (2 * scale));
            at[size_t(k)] = x / (1 - x * x);
        }
    }
};
constexpr Means kMeans;

// Keys below kKeys from sums of magnitudes over `count` indices each.
std::vector<uint8_t> keys_of(const std::vector<uint64_t>& sums, uint64_t count) {
    std::vector<int> scale;
    std::array<uint64_t, kScales + 1> members{};
    for (uint64_t sum : sums) {
        int k = 0;
        while (k < kScales && double(sum) >= kMeans.at[size_t(k)] * double(count)) k++;
        scale.push_back(k);
        members[size_t(k)]++;
    }
    // The kKeys neighbours that most have; what lies outside goes to the first or last.
    int first = 0;
    uint64_t best = 0;
    for (int k = 0; k + kKeys <= kScales + 1; k++) {
        uint64_t inside = 0;
        for (int i = 0; i < kKeys; i++) inside += members[size_t(k + i)];
        if (inside > best) best = inside, first = k;
    }
    std::vector<uint8_t> keys;
    for (int k : scale) keys.push_back(uint8_t(std::clamp(k - first, 0, kKeys - 1)));
    return keys;
}

// Counts of symbols by row key, column key and quantiser.
struct Cells {
    size_t quantisers;
    std::vector<Histogram> counts;  // [row key][column key][quantiser]
    explicit Cells(const ArrayHeader& h)
        : quantisers(h.matrix.trellis ? 2 : 1), counts(size_t(kKeys) * kKeys * quantisers) {}
    // Rows from `first` on, which begin at `indices`.
    void add(const int32_t* indices, size_t first, size_t rows, const std::vector<uint8_t>& row_key,
             const std::vector<uint8_t>& column_key) {
        const size_t columns = column_key.size();
        constexpr size_t together = 8;  // rows whose states are independent chains
        for (size_t r = 0; r < rows; r += together) {
            const size_t n = std::min(together, rows - r);
            uint8_t state[together] = {};
            for (size_t c = 0; c < columns; c++)
                for (size_t i = 0; i < n; i++) {
                    const uint8_t s = symbol_of(indices[(r + i) * columns + c]);
                    at(row_key[first + r + i], column_key[c])[state[i] & (quantisers - 1)][s]++;
                    state[i] = kNextState[state[i]][s & 1];
                }
        }
    }
    Histogram* at(size_t row, size_t column) { return counts.data() + (row * kKeys + column) * quantisers; }
};

struct Class {
    std::vector<Histogram> counts;  // by quantiser
    double bits = 0;
};

// A quick estimate: entropy, and slopes of a few bits for each magnitude.
double quick_bits(const std::vector<Histogram>& counts) {
    double bits = 9;
    for (const Histogram& h : counts) {
        int widest = 0;
        for (int k = 1; k < 128; k++)
            if (h[size_t(128 - k)] | h[size_t(128 + k)]) widest = k;
        bits += 3 + 4.5 * widest + entropy_bits(h);
    }
    return bits;
}

Class join(const Class& a, const Class& b) {
    Class c = a;
    for (size_t i = 0; i < c.counts.size(); i++)
        for (size_t s = 0; s < 256; s++) c.counts[i][s] += b.counts[i][s];
    c.bits = quick_bits(c.counts);
    return c;
}

// Which class stands for each key, when keys that share `width` quarters go together, and rare classes with others.
std::array<int, kKeys> grouping(const std::vector<uint8_t>& keys, int width, double least) {
    std::array<double, kKeys> members{};
    for (uint8_t k : keys) members[size_t(k / width * width)]++;
    std::array<int, kKeys> to{};
    for (int k = 0; k < kKeys; k++) to[size_t(k)] = k / width * width;
    for (;;) {
        int rare = -1;
        for (int k = 0; k < kKeys; k++)
            if (members[size_t(k)] > 0 && members[size_t(k)] < least &&
                (rare < 0 || members[size_t(k)] < members[size_t(rare)]))
                rare = k;
        int near = -1;
        for (int k = 0; rare >= 0 && k < kKeys; k++)
            if (k != rare && members[size_t(k)] > 0 && (near < 0 || std::abs(k - rare) < std::abs(near - rare)))
                near = k;
        if (near < 0) return to;
        for (int& t : to) t = t == rare ? near : t;
        members[size_t(near)] += members[size_t(rare)];
        members[size_t(rare)] = 0;
    }
}

// Bits of naming everyone's class.
double naming_bits(const std::vector<uint8_t>& keys, const std::array<int, kKeys>& to) {
    std::array<uint64_t, kKeys> members{};
    for (uint8_t k : keys) members[size_t(to[k])]++;
    double bits = 0;
    int classes = 0;
    for (uint64_t m : members) {
        if (m == 0) continue;
        classes++;
        bits += double(m) * (log2_of(keys.size()) - log2_of(m));
    }
    if (classes < 2) return 0;
    return bits * 1.04 + (keys.size() < 512 ? 32 : keys.size() < 2048 ? 200 : 1400);
}

struct Plan {
    std::array<int, kKeys> rows{}, columns{};  // class of a key; a context's number follows from the sum
    std::array<uint8_t, 2 * kKeys> context{};
    std::vector<Class> classes;
    double bits = 1e300;
};

Plan try_plan(Cells& cells, const std::vector<uint8_t>& row_key, const std::vector<uint8_t>& column_key,
              const std::array<int, kKeys>& rows, const std::array<int, kKeys>& columns) {
    Plan plan;
    plan.rows = rows;
    plan.columns = columns;
    std::array<std::vector<Histogram>, 2 * kKeys> sums;
    for (size_t a = 0; a < kKeys; a++)
        for (size_t b = 0; b < kKeys; b++) {
            const Histogram* from = cells.at(a, b);
            std::vector<Histogram>& to = sums[size_t(rows[a] + columns[b])];
            if (to.empty()) to.resize(cells.quantisers);
            for (size_t i = 0; i < cells.quantisers; i++)
                for (size_t s = 0; s < 256; s++) to[i][s] += from[i][s];
        }
    std::vector<int> last;  // sum up to which a class goes
    for (int k = 0; k < 2 * kKeys; k++) {
        uint64_t n = 0;
        for (const Histogram& h : sums[size_t(k)])
            for (uint32_t v : h) n += v;
        if (n == 0) continue;
        plan.classes.push_back({sums[size_t(k)], quick_bits(sums[size_t(k)])});
        last.push_back(k);
    }
    std::vector<Class> joined;
    for (size_t i = 0; i + 1 < last.size(); i++) joined.push_back(join(plan.classes[i], plan.classes[i + 1]));
    while (!joined.empty()) {
        size_t best = 0;
        double gain = -1e300;
        for (size_t i = 0; i < joined.size(); i++) {
            const double saved = plan.classes[i].bits + plan.classes[i + 1].bits - joined[i].bits;
            if (saved > gain) gain = saved, best = i;
        }
        if (gain <= 0 && plan.classes.size() <= size_t(kMaxTables)) break;
        plan.classes[best] = std::move(joined[best]);
        plan.classes.erase(plan.classes.begin() + ptrdiff_t(best) + 1);
        joined.erase(joined.begin() + ptrdiff_t(best));
        last.erase(last.begin() + ptrdiff_t(best));
        if (best > 0) joined[best - 1] = join(plan.classes[best - 1], plan.classes[best]);
        if (best < joined.size()) joined[best] = join(plan.classes[best], plan.classes[best + 1]);
    }
    for (size_t k = 0, c = 0; k < 2 * kKeys; k++) {
        plan.context[k] = uint8_t(std::min(c, last.size() - 1));
        if (c < last.size() && int(k) == last[c]) c++;
    }
    plan.bits = 0;
    for (const Class& c : plan.classes) plan.bits += c.bits;
    if (plan.classes.size() > 1) plan.bits += naming_bits(row_key, rows) + naming_bits(column_key, columns) + 40;
    return plan;
}

// Numbers for the classes of keys; those whose contexts are the same are one.
struct Numbering {
    std::array<uint8_t, kKeys> number{};
    std::vector<int> classes;
};
Numbering number_classes(const Plan& plan, const std::vector<uint8_t>& keys, const std::array<int, kKeys>& own,
                         const std::array<int, kKeys>& other, const std::vector<uint8_t>& other_keys) {
    std::array<bool, kKeys> used{}, other_used{};
    for (uint8_t k : keys) used[k] = true;
    for (uint8_t k : other_keys) other_used[k] = true;
    Numbering n;
    const auto alike = [&](int a, int b) {
        for (size_t k = 0; k < kKeys; k++)
            if (other_used[k] && plan.context[size_t(a + other[k])] != plan.context[size_t(b + other[k])]) return false;
        return true;
    };
    for (size_t k = 0; k < kKeys; k++) {
        if (!used[k]) continue;
        size_t c = 0;
        while (c < n.classes.size() && !alike(n.classes[c], own[k])) c++;
        if (c == n.classes.size()) n.classes.push_back(own[k]);
        n.number[k] = uint8_t(c);
    }
    return n;
}

}  // namespace

struct MatrixScan::Parts {
    std::vector<uint64_t> row_sum, column_sum;
    std::vector<uint8_t> row_key, column_key;
    Cells cells;
};

MatrixScan::MatrixScan(const ArrayHeader& h) : parts_(new Parts{{}, {}, {}, {}, Cells(h)}) {
    parts_->row_sum.resize(size_t(h.row_count()));
    parts_->column_sum.resize(size_t(h.row_length));
}
MatrixScan::~MatrixScan() = default;

void MatrixScan::sum(const int32_t* indices, size_t first, size_t rows) {
    std::vector<uint64_t>&row_sum = parts_->row_sum, &column_sum = parts_->column_sum;
    const size_t columns = column_sum.size();
    std::vector<uint32_t> partly(columns);  // of the columns, before they outgrow 32 bits
    for (size_t r = 0; r < rows; r++) {
        const int32_t* row = indices + r * columns;
        uint32_t sum = 0;  // a row has at most 2^22 values
        for (size_t c = 0; c < columns; c++) {
            const uint32_t magnitude = row[c] < 0 ? 0u - uint32_t(row[c]) : uint32_t(row[c]);
            const uint32_t most = magnitude < 127 ? magnitude : 127;
            sum += most;
            partly[c] += most;
        }
        row_sum[first + r] = sum;
        if (r + 1 < rows && (r + 1) % (1 << 24)) continue;
        for (size_t c = 0; c < columns; c++) column_sum[c] += partly[c];
        std::fill(partly.begin(), partly.end(), 0u);
    }
    if (first + rows < row_sum.size()) return;
    parts_->row_key = keys_of(row_sum, columns);
    parts_->column_key = keys_of(column_sum, row_sum.size());
}

void MatrixScan::count(const int32_t* indices, size_t first, size_t rows) {
    parts_->cells.add(indices, first, rows, parts_->row_key, parts_->column_key);
}

MatrixContexts choose_matrix_contexts(const ArrayHeader& h, const int32_t* indices) {
    const size_t rows = size_t(h.row_count());
    MatrixScan scan(h);
    scan.sum(indices, 0, rows);
    scan.count(indices, 0, rows);
    return scan.choose(h);
}

MatrixContexts MatrixScan::choose(const ArrayHeader& h) const {
    const size_t rows = size_t(h.row_count());
    const std::vector<uint8_t>&row_key = parts_->row_key, &column_key = parts_->column_key;
    Cells& cells = parts_->cells;
    // Many lanes want many rows of a class in each chunk.
    const double chunks = double(rows) / double(std::min<uint64_t>(rows, h.chunk_rows));
    const double least = h.coder == CoderId::fast ? 128 * chunks : 0;
    Plan best;
    for (int row_width : {kKeys, 4, 2, 1})
        for (int column_width : {kKeys, 4, 2, 1}) {
            Plan plan = try_plan(cells, row_key, column_key, grouping(row_key, row_width, least),
                                 grouping(column_key, column_width, 0));
            if (plan.bits < best.bits) best = std::move(plan);
        }
    MatrixContexts result;
    const CoderTraits coder = h.traits();
    for (const Class& c : best.classes) result.contexts.push_back(make_context(c.counts, coder));
    const Numbering of_rows = number_classes(best, row_key, best.rows, best.columns, column_key);
    const Numbering of_columns = number_classes(best, column_key, best.columns, best.rows, row_key);
    for (const ContextTables& c : result.contexts) result.bits += c.bits;
    if (result.contexts.size() < 2) return result;
    if (of_rows.classes.size() > 1)
        for (uint8_t k : row_key) result.row_classes.push_back(of_rows.number[k]);
    if (of_columns.classes.size() > 1)
        for (uint8_t k : column_key) result.column_classes.push_back(of_columns.number[k]);
    result.column_class_count = of_columns.classes.size();
    for (int a : of_rows.classes)
        for (int b : of_columns.classes) result.map.push_back(best.context[size_t(a + b)]);
    return result;
}

}  // namespace taut
