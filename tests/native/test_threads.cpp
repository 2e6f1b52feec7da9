// Encoding, decoding and rounding on several threads: the same bytes as on one. Built under ThreadSanitizer too, which
// sees what two threads touch without order (tests/native/run).
#include <cstring>
#include <thread>

#include "adaptive/adaptive.hpp"
#include "checks.hpp"
#include "codec/codec.hpp"
#include "matrix/matrix.hpp"
#include "round/round.hpp"
#include "split/split.hpp"

namespace {

using namespace taut;
using namespace checks;

struct Array {
    std::string name;
    Encoded coded;
};

size_t size_of(const Encoded& e) { return size_t(read_header(e.header.data(), e.header.size()).output_bytes()); }

DecodeJob job_of(const Encoded& e, std::vector<uint8_t>& out) {
    DecodeJob job{{e.header.data(), e.header.size()}, {}, out.data(), out.size()};
    for (const auto& chunk : e.chunks) job.chunks.push_back({chunk.data(), chunk.size()});
    return job;
}

std::vector<std::vector<uint8_t>> decode(const std::vector<Array>& arrays, int threads, const Kernels& kernels) {
    std::vector<std::vector<uint8_t>> outs;
    std::vector<DecodeJob> jobs;
    for (const Array& a : arrays) outs.emplace_back(size_of(a.coded));
    for (size_t i = 0; i < arrays.size(); i++) jobs.push_back(job_of(arrays[i].coded, outs[i]));
    decode_arrays(jobs, threads, kernels);
    return outs;
}

// --- arrays of several chunks --------------------------------------------------------------------------------------

std::vector<uint8_t> bytes_of(const std::vector<float>& v, size_t width) {
    std::vector<uint8_t> bytes(v.size() * width);  // the upper bytes: all are bfloat16 where two are left
    for (size_t i = 0; i < v.size(); i++)
        std::memcpy(bytes.data() + i * width, reinterpret_cast<const uint8_t*>(&v[i]) + 4 - width, width);
    return bytes;
}

template <class Encode>
void add(std::vector<Array>& arrays, const std::string& name, size_t least_chunks, Encode&& encode) {
    const Encoded alone = encode(1);
    check(alone.chunks.size() >= least_chunks, name + ": " + std::to_string(alone.chunks.size()) + " chunks are too few");
    for (int threads : {2, 8}) {
        const Encoded together = encode(threads);
        check(together.header == alone.header && together.chunks == alone.chunks,
              name + ": encoded by " + std::to_string(threads) + " threads");
    }
    arrays.push_back({name, alone});
}

std::vector<Array> encode_all() {
    Random random(1);
    std::vector<Array> arrays;
    const std::vector<float> weights = bells(random, 1100000, 0.05f);
    std::vector<int32_t> indices(weights.size());
    for (size_t i = 0; i < indices.size(); i++) indices[i] = int32_t(weights[i] * 100);
    for (size_t width : {2, 4}) {
        const std::vector<uint8_t> bytes = bytes_of(weights, width);
        add(arrays, "split of width " + std::to_string(width), 4, [&](int threads) {
            return encode_split(bytes.data(), weights.size(), int(width), Mode::float_, width == 4 ? 23 : 7,
                                {false, 1000, threads});
        });
    }
    add(arrays, "uniform", 4, [&](int threads) {
        return encode_uniform(indices.data(), indices.size(), 0.01f, {0.1f, 0, 0}, Output::f32, {false, 1000, threads});
    });
    MatrixSpec spec;
    spec.columns = 8192;
    spec.step = 0.01f;
    for (bool trellis : {false, true}) {
        spec.fields.trellis = trellis;
        add(arrays, trellis ? "matrix with a trellis" : "matrix", 2, [&](int threads) {
            return encode_matrix_with(CoderId::dense, indices.data(), 130 * spec.columns, spec,
                                      {false, spec.columns, threads});
        });
    }
    // Rows of zeros cost an adaptive array one decision each.
    std::vector<int32_t> sparse(size_t(6400) * 1024);
    for (size_t r = 0; r < 6400; r += 100)
        for (size_t i = 0; i < 1024; i++) sparse[r * 1024 + i] = int32_t(random.below(5)) - 2;
    AdaptiveSpec adaptive;
    adaptive.columns = 1024;
    adaptive.step = 0.01f;
    add(arrays, "adaptive", 3,
        [&](int threads) { return encode_adaptive(sparse.data(), sparse.size(), adaptive, threads); });
    return arrays;
}

void test_decoding(const std::vector<Array>& arrays) {
    const auto expected = decode(arrays, 1, portable_kernels());
    for (const Kernels* k : all_kernels())
        for (int threads : {2, 8}) {
            const auto outs = decode(arrays, threads, *k);
            for (size_t i = 0; i < arrays.size(); i++)
                check(outs[i] == expected[i], arrays[i].name + ": decoded by " + std::to_string(threads) + " threads, " +
                                                  k->name);
        }
}

// A damaged chunk is named, whatever the other threads do meanwhile.
void test_damage(std::vector<Array> arrays) {
    arrays[1].coded.chunks[2].resize(5);
    std::string what;
    try {
        decode(arrays, 8, best_kernels());
    } catch (const FormatError& error) {
        what = error.what();
    }
    check(what.rfind("job 1 chunk 2: ", 0) == 0, "damage: \"" + what + "\"");
}

// The first callers choose the kernels together.
void test_first_use() {
    std::vector<const Kernels*> found(8);
    std::vector<std::thread> crew;
    for (const Kernels*& k : found) crew.emplace_back([&k] { k = &best_kernels(); });
    for (std::thread& t : crew) t.join();
    for (const Kernels* k : found) check(k == found[0] && k == &best_kernels(), "one choice of kernels");
}

void test_rounding() {
    Random random(2);
    const size_t rows = 300, columns = 200;
    const std::vector<float> values = bells(random, rows * columns, 3), ones(rows, 1.0f);
    const auto upper = [&](size_t n) {
        std::vector<float> factor(n * n);
        for (size_t i = 0; i < n; i++)
            for (size_t j = i + 1; j < n; j++) factor[i * n + j] = random.bell() * 0.01f;
        return factor;
    };
    const std::vector<float> along = upper(columns), across = upper(rows);
    const std::vector<uint8_t> classes(rows);
    for (bool trellis : {false, true})
        for (const Kernels* k : all_kernels()) {
            std::vector<int16_t> expected;
            for (int threads : {1, 2, 8}) {
                std::vector<float> errors(rows * columns);
                RoundSpec s;
                s.rows = rows;
                s.columns = columns;
                s.values = values.data();
                s.errors = errors.data();
                s.row_steps = s.column_scales = s.row_weights = s.column_weights = ones.data();
                s.columns_factor = along.data();
                s.rows_factor = across.data();
                s.row_class = s.column_class = classes.data();
                s.curves.resize(1);
                s.trellis = trellis;
                s.threads = threads;
                std::vector<int16_t> indices(rows * columns);
                round_matrix(s, indices.data(), *k);
                if (threads == 1) expected = indices;
                check(indices == expected, std::string("rounded by threads, ") + k->name);
            }
        }
}

}  // namespace

int main() {
    test_first_use();
    const std::vector<Array> arrays = encode_all();
    test_decoding(arrays);
    test_damage(arrays);
    test_rounding();
    return result("threads");
}
