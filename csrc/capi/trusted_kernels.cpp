// Wide decoders are tried once before they are trusted, as in codec/self_check.cpp, but without an encoder: each kernel gets
// random units and raw bits, which decode to something all the same.
#include <algorithm>
#include <atomic>

#include "array/values.hpp"
#include "capi/array_reader.hpp"
#include "matrix/basis.hpp"

namespace taut::capi {
namespace {

// Knuth's MMIX generator.
class Random {
public:
    uint8_t next() {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return uint8_t(state_ >> 56);
    }
    void fill(uint8_t* bytes, size_t n) {
        for (size_t i = 0; i < n; i++) bytes[i] = next();
    }

private:
    uint64_t state_ = 1;
};

// Frequencies that fall away from the middle, an escape, and one symbol without a slot.
Table any_table(CoderTraits coder, int bucket_bits) {
    Table t;
    t.bucket_bits = bucket_bits;
    const int locals = 1 << bucket_bits, whole = 1 << coder.prob_bits, middle = locals / 2;
    t.first = uint8_t(128 - middle / 2);
    int left = whole;
    for (int i = 0; i < locals; i++) {
        const int far = i < middle ? middle - i : i - middle, wanted = std::max(1, whole / (4 << std::min(far, 12)));
        const int given = i == middle + 1 || left - wanted < 1 ? 0 : wanted;
        t.frequency[size_t(i)] = uint16_t(given);
        left -= given;
    }
    t.frequency[size_t(middle)] = uint16_t(t.frequency[size_t(middle)] + left);
    build_alias(t, coder.prob_bits);
    return t;
}

constexpr size_t kSteps = 40, kSymbols = kSteps * size_t(kStep);

class Trial {
public:
    Trial(const Kernels& k, Memory& memory)
        : k_(k), memory_(memory), units_(memory), a_(memory), b_(memory), slots_(memory) {}

    bool run() {
        if (!units_.try_resize(4 * kSymbols + 256) || !a_.try_resize(8 * kSymbols + 64) ||
            !b_.try_resize(8 * kSymbols + 64) || !slots_.try_resize(4096))
            return false;
        random_.fill(units_.data(), units_.size());
        for (int bits = kFast.min_bucket_bits; bits <= kFast.max_bucket_bits; bits++)
            if (k_.fast_steps && !steps<Fast, 128>(any_table(kFast, bits), k_.fast_steps)) return false;
        for (int bits = kDense.min_bucket_bits; bits <= kDense.max_bucket_bits; bits++)
            if (k_.dense_steps && !steps<Dense, 64>(any_table(kDense, bits), k_.dense_steps)) return false;
        return counts() && merges() && levels() && matrices() && combines();
    }

private:
    const Kernels& k_;
    Memory& memory_;
    Random random_;
    Vec<uint8_t> units_, a_, b_;
    Vec<uint32_t> slots_;

    bool same(size_t n) { return std::memcmp(a_.data(), b_.data(), n) == 0; }

    template <class Coder, size_t lanes, class Wide>
    bool steps(const Table& t, Wide* wide) {
        using State = typename Coder::State;
        alignas(64) State x[lanes], y[lanes];
        for (size_t i = 0; i < lanes; i++)
            x[i] = y[i] = State(Coder::low + (uint32_t(random_.next()) << 8 | random_.next()) % (255 * Coder::low / 2));
        for (size_t i = 0; i < lanes; i++) x[i] = y[i] = State(std::max<uint32_t>(x[i], Coder::low));
        make_slots(t, Coder::prob_bits, slots_.data());
        size_t one = 0, other = 0;
        const uint8_t *p = units_.data(), *q = p;
        wide(t, x, one, kSteps, p, a_.data());
        decode_steps_portable<Coder>(slots_.data(), y, other, kSteps, q, b_.data());
        return p == q && one % lanes == other % lanes && same(kSymbols) && std::memcmp(x, y, sizeof x) == 0;
    }

    bool counts() {
        const uint8_t wanted = 7;
        size_t found = 0;
        for (size_t i = 0; i < kSymbols; i++) {
            a_[i] = b_[i] = units_[i] & 15;
            found += a_[i] == wanted;
        }
        if (k_.count && k_.count(a_.data(), kSymbols - 3, wanted) !=
                            found - size_t(std::count(a_.data() + kSymbols - 3, a_.data() + kSymbols, wanted)))
            return false;
        if (!k_.patch) return true;
        const uint8_t* tail = units_.data() + kSymbols;
        const uint8_t* end = k_.patch(a_.data(), kSymbols, wanted, tail);
        for (size_t i = 0; i < kSymbols; i++)
            if (b_[i] == wanted) b_[i] = *tail++;
        return end == tail && same(kSymbols);
    }

    template <class T>
    bool merge(Mode mode, int low, int drop) {
        const SplitRule rule{mode, low, drop, false, 1};
        const size_t n = 331;  // raw bits of 8 bytes each at most, and spare ones behind them
        const size_t done = k_.merge(rule, sizeof(T), units_.data() + 5000, units_.data(), n, a_.data());
        Exceptions exceptions(nullptr, 0);
        merge_plain<T>(rule, units_.data() + 5000, units_.data(), 0, done, exceptions, b_.data());
        for (size_t i = 0; i < done; i++)  // those are mended later
            if (units_[5000 + i] == kException)
                std::memcpy(a_.data() + i * sizeof(T), b_.data() + i * sizeof(T), sizeof(T));
        return done <= n && same(done * sizeof(T));
    }
    bool merges() {
        if (!k_.merge) return true;
        for (int drop : {0, 2})
            if (!merge<uint16_t>(Mode::float_, 8, drop) || !merge<uint32_t>(Mode::float_, 24, drop) ||
                !merge<uint16_t>(Mode::float_, 11, drop) || !merge<uint8_t>(Mode::float_, 4, drop) ||
                !merge<uint32_t>(Mode::signed_, 20, drop) || !merge<uint64_t>(Mode::float_, 53, drop))
                return false;
        return true;
    }

    bool levels() {
        if (!k_.uniform) return true;
        ArrayHeader h(memory_);
        h.step = 0.01f;
        h.offsets = {0.1f, 0.05f, 0.0f};
        const UniformRule rule = uniform_rule(h);
        for (Output output : {Output::f32, Output::f16, Output::bf16}) {
            const int width = output == Output::f32 ? 4 : 2;
            const size_t done = k_.uniform(rule, output, units_.data(), 331, a_.data());
            const auto table = level_table(rule, output);
            look_up(width, table.data(), units_.data(), done, b_.data());
            if (done > 331 || !same(done * size_t(width))) return false;
        }
        return true;
    }

    // A row that is a sum of a basis' rows, some of them as wide as registers are, one by itself.
    bool combines() {
        constexpr size_t columns = 147;
        Vec<float> numbers(memory_);
        if (!numbers.try_resize_raw((columns + 1) * columns)) return false;
        for (size_t i = 0; i < numbers.size(); i++) numbers[i] = float(int8_t(units_[i % 4999])) / 7;
        const float* basis = numbers.data() + columns;
        const Kernels* kernels[2] = {&k_, &portable_kernels()};
        for (int i = 0; i < 2; i++) {
            Combination combination(memory_);
            if (combination.open(columns) ||
                combination.put(*kernels[i], numbers.data(), basis, Output::f32, (i ? b_ : a_).data()))
                return false;
        }
        return same(columns * sizeof(float));
    }

    // Chunks of random units put their values before their end is found to be wrong: both decoders must do so alike.
    bool matrices() {
        for (CoderId coder : {CoderId::fast, CoderId::dense})
            for (bool trellis : {false, true})
                for (Output output : {Output::f32, Output::f16, Output::bf16})
                    if (!matrix(coder, trellis, output)) return false;
        return true;
    }
    bool matrix(CoderId coder, bool trellis, Output output) {
        constexpr size_t rows = 131, columns = 16;
        const bool fast = coder == CoderId::fast;
        ArrayHeader h(memory_);
        h.kind = Kind::matrix;
        h.coder = coder;
        h.output = output;
        h.width = output == Output::f32 ? 4 : 2;
        h.count = rows * columns;
        h.row_length = columns;
        h.chunk_rows = rows;
        h.step = 0.01f;
        h.offsets = {0.1f, 0.05f, 0.0f};
        h.matrix.trellis = trellis;
        if (!h.matrix.column_exponents.try_assign(columns, 130)) return false;
        for (int i = 0; i < (trellis ? 2 : 1); i++)
            if (!h.tables.try_push(any_table(h.traits(), 5))) return false;
        for (Table& t : h.tables) {  // no escape: there is no tail
            t.frequency[16] = uint16_t(t.frequency[16] + t.frequency[0]);
            t.frequency[0] = 0;
            build_alias(t, h.traits().prob_bits);
        }
        const size_t units = rows * columns * (fast ? 1 : 2), states = 256;
        Vec<uint8_t> chunk(memory_);
        if (!chunk.try_resize(5 + units + states)) return false;
        chunk[0] = uint8_t(units | 128);
        chunk[1] = uint8_t(units >> 7);
        const size_t header = 4;  // two bytes of units_size, none of tail and exceptions
        random_.fill(chunk.data() + header, units);
        for (size_t i = 0; i < states; i++) chunk[header + units + i] = uint8_t(random_.next() | 1);
        const ConstBytes bytes{chunk.data(), header + units + states};
        Status found[2];
        const Kernels* kernels[2] = {&k_, &portable_kernels()};
        for (int i = 0; i < 2; i++) {
            MatrixDecoder decoder(memory_);
            if (decoder.open(h, *kernels[i])) return false;
            uint8_t* out = (i ? b_ : a_).data();
            std::memset(out, 0, rows * columns * h.width);
            found[i] = decoder.decode_chunk(h, *kernels[i], 0, bytes, out);
        }
        return found[0].what() == found[1].what() && same(rows * columns * h.width);
    }
};

}  // namespace

bool kernels_agree(const Kernels& kernels, Memory& memory) { return Trial(kernels, memory).run(); }

const Kernels& trusted_kernels() {
    static std::atomic<const Kernels*> trusted{nullptr};
    if (const Kernels* known = trusted) return *known;
    const Kernels* all[kMostKernels];
    size_t n = list_kernels(all);
    // A few kilobytes, given back at once, of the C library's: no file is at hand whose allocator it could be.
    while (n > 1 && !kernels_agree(*all[n - 1], usual_memory)) n--;
    trusted = all[n - 1];
    return *all[n - 1];
}

}  // namespace taut::capi
