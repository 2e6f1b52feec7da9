// Rounding with feedback against a plain program that keeps every survivor's path and targets whole: the same indices
// and the same decoded numbers to the last bit, for all kernels and any number of threads. Where there is no feedback
// the trellis search is also held against all ways through a short row. Buffers are allocated to the byte.
#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <numeric>

#include "checks.hpp"
#include "matrix/matrix.hpp"
#include "round/round.hpp"

namespace {

using namespace taut;
using namespace checks;

constexpr size_t kBlock = 128;  // columns; a search is settled where a block ends
constexpr float kUnreachable = 1e30f;

struct Case {
    std::string name;
    size_t rows, columns;
    std::vector<float> values, row_steps, column_scales, row_weights, column_weights, columns_factor, rows_factor;
    std::vector<uint8_t> row_class, column_class;
    std::vector<RateCurve> curves;
    std::array<float, 3> offsets{};
    float lambda = 0;
    bool trellis = false;

    float step(size_t i, size_t j) const { return row_steps[i] * column_scales[j]; }
    float weight(size_t i, size_t j) const { return row_weights[i] * column_weights[j]; }
    const RateCurve& curve(size_t i, size_t j) const {
        return curves[std::min(size_t(row_class[i]) + column_class[j], curves.size() - 1)];
    }
    float offset(float magnitude) const {
        return magnitude == 0 ? 0 : offsets[size_t(std::min(magnitude, 3.0f)) - 1];
    }
};

struct Rounded {
    std::vector<int32_t> indices;
    std::vector<float> decoded;
};

// --- the plain program ---------------------------------------------------------------------------------------------

float bits_of(const std::array<float, 4>& at, float magnitude) {
    const float beyond = magnitude - 1;
    return magnitude == 0 ? at[0] : at[1] + beyond * (at[2] + beyond * at[3]);
}

struct Choice {
    float magnitude, level, cost;  // level and cost in steps, with the offset
};

// Of one parity: the level nearest to `a`, or the one before if it costs less. Even indices end at 126.
Choice choose(const Case& c, size_t i, size_t j, float a, bool odd, int quantiser) {
    const auto priced = [&](float magnitude) {
        const float step_level = magnitude + magnitude - (quantiser && magnitude > 0 ? 1.0f : 0.0f);
        const float level = step_level - c.offset(magnitude), distance = a - level;
        float cost = distance * distance * c.weight(i, j);
        if (c.lambda > 0) cost += c.lambda * bits_of(c.curve(i, j).at[size_t(quantiser)], magnitude);
        return Choice{magnitude, level, cost};
    };
    const float q = (quantiser ? a + 1 : a) * 0.5f;
    const float nearest = odd ? std::max(std::nearbyint((q - 1) * 0.5f) * 2 + 1, 1.0f)
                              : std::min(std::nearbyint(q * 0.5f) * 2, 126.0f);
    const Choice far = priced(nearest), near = priced(std::max(nearest - 2, odd ? 1.0f : 0.0f));
    return near.cost < far.cost ? near : far;
}

struct Survivor {
    float cost = kUnreachable;
    std::vector<int32_t> path;
    std::vector<float> targets;  // of the whole block
};

float signed_as(float magnitude, float sign) { return std::copysign(magnitude, sign); }

// The cheapest way through a block of one row from state `state`, which becomes the state at the end.
std::vector<int32_t> search(const Case& c, size_t i, size_t begin, const std::vector<float>& wanted,
                            const std::vector<float>& targets, uint8_t& state) {
    std::array<Survivor, 8> now;
    for (size_t s = 0; s < 8; s++) now[s] = {s == state ? 0 : kUnreachable, {}, targets};
    for (size_t k = 0; k < wanted.size(); k++) {
        std::array<Survivor, 8> next;
        std::array<bool, 8> reached{};
        for (size_t s = 0; s < 8; s++)
            for (int odd : {0, 1}) {
                const float t = now[s].targets[k] * (1.0f / c.step(i, begin + k));
                const Choice choice = choose(c, i, begin + k, std::fabs(t), odd, int(s & 1));
                const size_t to = kNextState[s][odd];
                const float cost = now[s].cost + choice.cost;
                if (reached[to] && !(cost < next[to].cost)) continue;
                reached[to] = true;
                next[to] = {cost, now[s].path, now[s].targets};
                next[to].path.push_back(int32_t(signed_as(choice.magnitude, t)));
                if (c.columns_factor.empty()) continue;
                const float missed = wanted[k] - signed_as(choice.level, t) * c.step(i, begin + k);
                for (size_t l = k + 1; l < wanted.size(); l++)
                    next[to].targets[l] += missed * c.columns_factor[(begin + k) * c.columns + begin + l];
            }
        now = std::move(next);
    }
    const auto cheapest = std::min_element(now.begin(), now.end(),
                                           [](const Survivor& a, const Survivor& b) { return a.cost < b.cost; });
    state = uint8_t(cheapest - now.begin());
    return cheapest->path;
}

// Without a trellis: each number goes to the cheaper of the two levels around its target.
std::vector<int32_t> one_by_one(const Case& c, size_t i, size_t begin, const std::vector<float>& wanted,
                                std::vector<float> targets) {
    std::vector<int32_t> path;
    for (size_t k = 0; k < wanted.size(); k++) {
        const float step = c.step(i, begin + k), a = std::fabs(targets[k] / step), lower = std::floor(a);
        const auto cost = [&](float q) {
            const float distance = a - (q - c.offset(q));
            return distance * distance * c.weight(i, begin + k) + c.lambda * bits_of(c.curve(i, begin + k).at[0], q);
        };
        const float q = cost(lower + 1) < cost(lower) ? lower + 1 : lower;
        path.push_back(int32_t(targets[k] < 0 ? -q : q));
        if (c.columns_factor.empty()) continue;
        const float level = (q - c.offset(q)) * step, missed = wanted[k] - (targets[k] < 0 ? -level : level);
        for (size_t l = k + 1; l < wanted.size(); l++)
            targets[l] += missed * c.columns_factor[(begin + k) * c.columns + begin + l];
    }
    return path;
}

float decode(const Case& c, size_t i, size_t j, int32_t q, int quantiser) {
    const float offset = c.offset(std::fabs(float(q)));
    return (float(level_of(q, c.trellis, quantiser)) - (q < 0 ? -offset : offset)) * c.row_steps[i] * c.column_scales[j];
}

Rounded plainly(const Case& c) {
    Rounded r{std::vector<int32_t>(c.values.size()), std::vector<float>(c.values.size())};
    std::vector<float> feedback(c.values.size());
    std::vector<uint8_t> states(c.rows);
    for (size_t begin = 0; begin < c.columns; begin += kBlock) {
        const size_t n = std::min(kBlock, c.columns - begin);
        for (size_t i = 0; i < c.rows; i++) {
            const size_t at = i * c.columns + begin;
            std::vector<float> wanted(c.values.begin() + long(at), c.values.begin() + long(at + n)), targets(n);
            for (size_t other = 0; other < i && !c.rows_factor.empty(); other++)
                for (size_t k = 0; k < n; k++) {
                    const size_t above = other * c.columns + begin + k;
                    wanted[k] += c.rows_factor[other * c.rows + i] * (c.values[above] - r.decoded[above]);
                }
            for (size_t k = 0; k < n; k++) targets[k] = wanted[k] + feedback[at + k];
            uint8_t state = states[i];
            const std::vector<int32_t> path = c.trellis ? search(c, i, begin, wanted, targets, states[i])
                                                        : one_by_one(c, i, begin, wanted, targets);
            for (size_t k = 0; k < n; k++) {
                r.indices[at + k] = path[k];
                r.decoded[at + k] = decode(c, i, begin + k, path[k], state & 1);
                if (c.trellis) state = kNextState[state][path[k] & 1];
                if (c.columns_factor.empty()) continue;
                const float missed = wanted[k] - r.decoded[at + k];
                for (size_t l = begin + n; l < c.columns; l++)
                    feedback[i * c.columns + l] += missed * c.columns_factor[(begin + k) * c.columns + l];
            }
        }
    }
    return r;
}

// --- against it ----------------------------------------------------------------------------------------------------

Rounded run(const Case& c, const Kernels& kernels, int threads, bool in_place = true) {
    Rounded r{std::vector<int32_t>(c.values.size(), 77), std::vector<float>(c.values.size())};
    RoundSpec s;
    s.rows = c.rows;
    s.columns = c.columns;
    // In one buffer and in two.
    std::vector<float> values = c.values, errors(c.rows_factor.empty() ? 0 : values.size());
    s.values = values.data();
    s.errors = in_place ? values.data() : errors.data();
    s.row_steps = c.row_steps.data();
    s.column_scales = c.column_scales.data();
    s.row_weights = c.row_weights.data();
    s.column_weights = c.column_weights.data();
    s.columns_factor = c.columns_factor.empty() ? nullptr : c.columns_factor.data();
    s.rows_factor = c.rows_factor.empty() ? nullptr : c.rows_factor.data();
    s.offsets = c.offsets;
    s.lambda = c.lambda;
    s.row_class = c.row_class.data();
    s.column_class = c.column_class.data();
    s.curves = c.curves;
    s.trellis = c.trellis;
    s.threads = threads;
    std::vector<int16_t> small(c.values.size(), 77);
    const auto large = round_matrix(s, small.data(), kernels);
    std::copy(small.begin(), small.end(), r.indices.begin());
    for (const LargeIndex& l : large) {
        check(r.indices[l.at] == 0, c.name + ": a zero where an index is large");
        r.indices[l.at] = l.index;
    }
    const LevelSpec levels{s.row_steps, s.column_scales, s.offsets, s.trellis};
    decode_indices(r.indices.data(), c.rows, c.columns, levels, r.decoded.data());
    return r;
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && (a.empty() || !std::memcmp(a.data(), b.data(), a.size() * sizeof(float)));
}

void test(const Case& c) {
    const Rounded expected = plainly(c);
    for (const Kernels* k : all_kernels())
        for (int threads : {1, 2, 8}) {
            const std::string who = c.name + ", " + k->name + ", threads " + std::to_string(threads) + ": ";
            const Rounded r = run(c, *k, threads);
            check(r.indices == expected.indices, who + "indices");
            check(same(r.decoded, expected.decoded), who + "decoded");
        }
    check(run(c, *all_kernels().back(), 2, false).indices == expected.indices, c.name + ": in two buffers");
}

// --- cases ---------------------------------------------------------------------------------------------------------

Case plain_case(size_t rows, size_t columns, bool trellis) {
    Case c{std::to_string(rows) + " x " + std::to_string(columns) + (trellis ? ", trellis" : ", plain"), rows, columns,
           std::vector<float>(rows * columns), std::vector<float>(rows, 1.0f), std::vector<float>(columns, 1.0f),
           std::vector<float>(rows, 1.0f), std::vector<float>(columns, 1.0f), {}, {}, std::vector<uint8_t>(rows),
           std::vector<uint8_t>(columns), {RateCurve{}}};
    c.trellis = trellis;
    return c;
}

std::vector<float> factor(Random& random, size_t n) {
    std::vector<float> f(n * n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (j > i) f[i * n + j] = random.bell() * 0.2f / std::sqrt(float(n));
    return f;
}

// Everything differs: steps, weights, classes (more of them than curves), and both sides feed back on request.
Case random_case(Random& random, size_t rows, size_t columns, bool trellis, bool along, bool across) {
    Case c = plain_case(rows, columns, trellis);
    c.name += std::string(along ? ", feedback along" : "") + (across ? ", feedback across" : "");
    c.values = bells(random, rows * columns, 4);
    for (float& v : c.row_steps) v = 0.3f + random.share();
    for (float& v : c.column_scales) v = 0.5f + random.share();
    for (float& v : c.row_weights) v = 0.1f + random.share();
    for (float& v : c.column_weights) v = 0.1f + random.share();
    for (uint8_t& v : c.row_class) v = uint8_t(random.below(4));
    for (uint8_t& v : c.column_class) v = uint8_t(random.below(4));
    c.curves.resize(3);
    for (RateCurve& curve : c.curves)
        for (auto& at : curve.at) at = {0.5f + random.share(), 1.5f + random.share(), 0.8f, -0.002f};
    if (along) c.columns_factor = factor(random, columns);
    if (across) c.rows_factor = factor(random, rows);
    if (random.below(2)) c.offsets = {0.11f, 0.06f, 0.02f};
    if (random.below(3)) c.lambda = 0.15f;
    return c;
}

void test_shapes() {
    Random random(1);
    const std::array<std::array<size_t, 2>, 12> shapes{{{0, 5}, {1, 1}, {1, 7}, {1, 300}, {300, 1}, {33, 7}, {2, 127},
                                                        {3, 128}, {5, 129}, {32, 9}, {70, 20}, {107, 400}}};
    for (const auto& [rows, columns] : shapes)
        for (bool trellis : {false, true})
            for (bool along : {false, true})
                for (bool across : {false, true}) test(random_case(random, rows, columns, trellis, along, across));
}

void test_values() {
    Random random(2);
    for (bool trellis : {false, true}) {
        Case c = plain_case(3, 20, trellis);  // zeros, and steps of one
        c.name += ", zeros";
        test(c);
        c.values[3] = -0.0f;
        c.lambda = 0.1f;
        test(c);
        c = plain_case(2, 40, trellis);
        c.name += ", denormals";
        for (float& v : c.values) v = random.bell() * 1e-40f;
        test(c);
        for (float& v : c.row_steps) v = FLT_MIN;
        for (float& v : c.values) v = random.bell() * 8 * FLT_MIN;
        test(c);
        c = plain_case(2, 40, trellis);
        c.name += ", huge";
        c.values = bells(random, 80, 1e30f);
        c.row_steps = {1e29f, 1e28f};
        test(c);
        c = plain_case(2, 40, trellis);
        c.lambda = 0.01f;
        for (const auto& [scale, of] : {std::pair(2000.0f, "a byte"), std::pair(60000.0f, "two bytes")}) {
            c.name = std::string(trellis ? "trellis" : "plain") + ", beyond the indices that " + of + " hold";
            c.values = bells(random, 80, scale);
            test(c);
        }
        c = plain_case(2, 40, trellis);  // even indices end at 126, odd ones do not
        c.name += ", around the largest even index";
        for (size_t i = 0; i < 80; i++) c.values[i] = (i % 2 ? -1.0f : 1.0f) * (248 + float(i) / 5);
        test(c);
        c = plain_case(1, 9, trellis);
        c.name += ", ties";
        for (size_t j = 0; j < 9; j++) c.values[j] = float(j) - 4.5f;
        test(c);
    }
}

// What is known without any program.
void test_known() {
    Case c = plain_case(1, 5, false);
    c.values = {0.2f, -0.6f, 2.4f, -2.6f, 7};
    const Rounded r = run(c, portable_kernels(), 1);
    check(r.indices == std::vector<int32_t>({0, -1, 2, -3, 7}), "known indices");
    check(r.decoded == std::vector<float>({0, -1, 2, -3, 7}), "known decoded");
    // What the first number misses, 0.4, is made good at the second: 0.3 + 0.4 is nearer to one.
    c = plain_case(1, 2, false);
    c.values = {1.4f, 0.3f};
    c.columns_factor = {0, 1, 0, 0};
    check(run(c, portable_kernels(), 1).indices == std::vector<int32_t>({1, 1}), "known feedback along");
    c = plain_case(2, 1, false);
    c.values = {1.4f, 0.3f};
    c.rows_factor = {0, 1, 0, 0};
    check(run(c, portable_kernels(), 1).indices == std::vector<int32_t>({1, 1}), "known feedback across");
}

// The cost of a way through a row without feedback, as if its levels had been given.
float cost_of(const Case& c, const std::vector<int32_t>& path) {
    float cost = 0;
    size_t state = 0;
    for (size_t j = 0; j < path.size(); j++) {
        const float missed = (c.values[j] - decode(c, 0, j, path[j], int(state & 1))) / c.step(0, j);
        const float magnitude = std::fabs(float(path[j]));
        cost += missed * missed * c.weight(0, j) + c.lambda * bits_of(c.curve(0, j).at[state & 1], magnitude);
        state = kNextState[state][path[j] & 1];
    }
    return cost;
}

// Any index from -3 to 3 at each of five places: none of 7^5 ways is cheaper than the one that was found.
void test_best_of_all() {
    Random random(3);
    for (int i = 0; i < 6; i++) {
        Case c = plain_case(1, 5, true);
        c.values = bells(random, 5, 2);
        c.lambda = i % 2 ? 0.2f : 0;
        c.curves[0].at = {{{0.5f, 2, 1, 0}, {0.6f, 2.1f, 1, 0}}};
        float least = FLT_MAX;
        std::vector<int32_t> path(5);
        for (int way = 0; way < 16807; way++) {
            for (int j = 0, rest = way; j < 5; j++, rest /= 7) path[size_t(j)] = rest % 7 - 3;
            least = std::min(least, cost_of(c, path));
        }
        const float found = cost_of(c, run(c, *all_kernels().back(), 1).indices);
        check(found <= least * 1.0001f + 1e-6f, "best of all ways");
    }
}

}  // namespace

int main() {
    test_known();
    test_shapes();
    test_values();
    test_best_of_all();
    return result("round");
}
