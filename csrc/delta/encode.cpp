// Differences to a base: which of the ways to put them costs the fewest bits, then chunk by chunk.
#include <cmath>

#include "base/parallel.hpp"
#include "delta/delta.hpp"
#include "delta/write_chunk.hpp"

namespace taut {
namespace {

constexpr int kLead = 12;             // class of a difference whose expected length is 0
constexpr int64_t kNoClasses = 1 << 16;
constexpr uint64_t kSampled = uint64_t(1) << 20;  // values that the ways are judged by
constexpr double kTableBits = 160, kSymbolBits = 5;  // what a context costs

// log2, rounded to a whole number: the same on every machine. What is too small for a double is taken as small.
int octave(double x) { return std::ilogb(std::max(x, 1e-300) * 1.4142135623730951); }

template <class T>
class DeltaEncoder final : public DeltaStream {
public:
    DeltaEncoder(uint64_t count, Mode mode, int shift, const EncodeOptions& options) : options_(options), words_{mode} {
        h_.kind = Kind::delta;
        h_.width = sizeof(T);
        h_.mode = mode;
        h_.count = count;
        h_.row_length = options.row_length;
        h_.delta.shift = uint8_t(shift);
        const uint64_t rows = h_.row_count();
        row_octave_.assign(rows, 0);
        row_same_.assign(rows, true);
        column_octave_.assign(h_.row_length, 0);
        column_same_.assign(h_.row_length, true);
        of_column_.assign(h_.row_length, 0);
        weight_.assign(h_.row_length, 0);
        step_ = std::max<uint64_t>(1, count / kSampled);
    }

    void look(const uint8_t* base, uint64_t n) override {
        const Classes<T> classes(h_);
        for (uint64_t i = 0; i < n; i++) top_ = std::max(top_, classes.key(Differences<T>::at(base, i)));
    }

    // In the base's own unit and in octaves. Some rows are kept, for the ways to be judged by.
    void measure(uint64_t first, const uint8_t* values, const uint8_t* base, uint64_t n) override {
        const Differences<T> seen{values, base, words_};
        const uint64_t row = first / h_.row_length, rows = (n + h_.row_length - 1) / h_.row_length;
        for (uint64_t r = 0; r < rows; r++) {
            measure_row(row + r, seen, r * h_.row_length);
            if ((row + r) % step_) continue;
            const size_t begin = size_t(r * h_.row_length) * sizeof(T), end = begin + length(row + r) * sizeof(T);
            some_values_.insert(some_values_.end(), values + begin, values + end);
            some_base_.insert(some_base_.end(), base + begin, base + end);
        }
    }

    std::vector<uint8_t> header() override {
        few_ = differ_ * 8 < h_.count;
        for (uint64_t j = 0; j < std::min(h_.row_length, h_.count); j++)
            if (!column_same_[j]) column_octave_[j] = octave(of_column_[j] / weight_[j]);
        choose();
        some_values_ = some_base_ = {};
        // Threads share the chunks of one array. Places have no use for more of them, which take tables of their own.
        const uint64_t values = h_.delta.sparse ? kMaxChunkValues : kMaxChunkValues / 4;
        h_.chunk_rows = std::clamp<uint64_t>(values / h_.row_length, 1, std::max<uint64_t>(1, h_.row_count()));
        return write_delta_header(h_);
    }
    uint64_t chunk_values() const override { return h_.chunk_rows * h_.row_length; }

    std::vector<std::vector<uint8_t>> code(uint64_t first, const uint8_t* values, const uint8_t* base, uint64_t n,
                                           int threads) override {
        const uint64_t each = chunk_values();
        std::vector<std::vector<uint8_t>> chunks(size_t((n + each - 1) / each));
        parallel_for(chunks.size(), threads, [&](size_t c) {
            const uint64_t at = c * each * sizeof(T);
            const Differences<T> seen{values + at, base + at, words_};
            chunks[c] = DeltaChunk<T>(h_, options_, seen, first / h_.row_length + c * h_.chunk_rows).run();
        });
        return chunks;
    }

private:
    EncodeOptions options_;
    Ordered<T> words_;
    ArrayHeader h_;
    std::vector<int> row_octave_, column_octave_;  // of mean differences
    std::vector<bool> row_same_, column_same_;
    std::vector<double> of_column_, weight_;
    std::vector<uint8_t> some_values_, some_base_;  // every step_-th row
    uint64_t step_ = 1, differ_ = 0;
    int top_ = 0;  // the largest exponent of the base
    bool few_ = false;  // values differ: places then decode faster than classes

    size_t length(uint64_t r) const { return size_t(std::min(h_.row_length, h_.count - r * h_.row_length)); }
    Differences<T> sample() const { return {some_values_.data(), some_base_.data(), words_}; }

    // A row, whose values begin with the one numbered `begin` of what is seen.
    void measure_row(uint64_t r, const Differences<T>& seen, uint64_t begin) {
        const Classes<T> classes(h_);
        const size_t n = length(r);
        double sum = 0;
        for (size_t j = 0; j < n; j++) {
            if (!seen.differs(begin + j)) continue;
            differ_++;
            sum += size_of(classes, seen, begin + j);
            row_same_[r] = column_same_[j] = false;
        }
        if (row_same_[r]) return;
        row_octave_[r] = octave(sum / double(n)) + top_;
        for (size_t j = 0; j < n; j++) {
            of_column_[j] += std::ldexp(size_of(classes, seen, begin + j), top_ - row_octave_[r]);
            weight_[j] += 1;
        }
    }
    double size_of(const Classes<T>& classes, const Differences<T>& seen, uint64_t i) const {
        bool down;
        const uint64_t m = seen.magnitude(i, down);
        return m ? std::ldexp(double(m), classes.key(seen.base_at(i)) - top_) : 0.0;
    }

    // What is said of rows, or of columns: nothing, which of them are untouched, how large their differences are too.
    enum class Said : uint8_t { nothing, untouched, scales };

    // The least of some octaves, and those as bytes above it.
    static int to_bytes(const std::vector<int>& octaves, const std::vector<bool>& same, Said said, Vec<uint8_t>& bytes) {
        int least = 1 << 20;
        for (size_t i = 0; i < octaves.size(); i++)
            if (!same[i]) least = std::min(least, octaves[i]);
        const bool scaled = said == Said::scales && least < 1 << 20;
        bytes.resize(octaves.size());
        for (size_t i = 0; i < octaves.size(); i++)
            bytes[i] = same[i] && said != Said::nothing ? kUntouched
                       : scaled && !same[i]             ? uint8_t(1 + std::min(octaves[i] - least, 254))
                                                        : uint8_t(1);
        return scaled ? least : 0;
    }

    struct Way {
        bool classes;
        Said rows, columns;
        bool exclusive = false, sparse = false;
    };

    void set_way(const Way& way) {
        h_.delta.exclusive = way.exclusive;
        h_.delta.sparse = way.sparse;
        const int row = to_bytes(row_octave_, row_same_, way.rows, h_.delta.rows);
        const int column = to_bytes(column_octave_, column_same_, way.columns, h_.delta.columns);
        const int scale = way.rows == Said::scales ? row : mean_octave();
        h_.delta.origin = way.classes ? kLead + column + scale : -kNoClasses;
    }
    int mean_octave() const {
        int64_t sum = 0, n = 0;
        for (size_t r = 0; r < row_octave_.size(); r++)
            if (!row_same_[r]) sum += row_octave_[r], n++;
        return n ? int((sum + (sum >= 0 ? n / 2 : -n / 2)) / n) : 0;
    }

    void choose() {
        constexpr Said no = Said::nothing, some = Said::untouched, all = Said::scales;
        constexpr Way ways[] = {{false, no, no}, {false, some, no}, {false, some, some}, {true, no, no},
                                {true, some, no}, {true, some, some}, {true, all, no}, {true, all, some}, {true, all, all}};
        double best = 1e300;
        Way found = ways[0];
        for (bool exclusive : {false, true}) {
            for (Way way : ways) {
                way.exclusive = exclusive;
                set_way(way);
                const double bits = cost();
                if (bits < best) best = bits, found = way;
            }
            const Way sparse{false, no, no, exclusive, true};
            set_way(sparse);
            const double bits = sparse_cost();
            if (bits <= best * (few_ ? 1.01 : 0.98)) best = std::min(best, bits), found = sparse;
        }
        set_way(found);
    }

    // Bits of the whole array, judged by some of its rows.
    double cost() const {
        const Classes<T> classes(h_);
        const Differences<T> seen = sample();
        const uint64_t rows = h_.row_count();
        std::vector<Histogram> counts(kDeltaClasses);
        for (Histogram& c : counts) c.fill(0);
        for (uint64_t r = 0; r < rows; r += step_) {
            const uint8_t row = h_.delta.rows[r];
            if (row == kUntouched) continue;
            for (size_t j = 0; j < length(r); j++) {
                const uint8_t column = h_.delta.columns[j];
                if (column == kUntouched) continue;
                const uint64_t i = r / step_ * h_.row_length + j;
                uint64_t m;
                counts[classes.of(seen.base_at(i), row + column)][seen.symbol(i, h_.delta.exclusive, m)]++;
            }
        }
        double bits = 0, fixed = side_bits(h_.delta.rows) + side_bits(h_.delta.columns);
        for (const Histogram& c : counts) {
            double n = 0, kinds = 0;
            for (int s = 0; s < 256; s++) {
                n += c[s];
                kinds += c[s] != 0;
                bits += double(c[s]) * seen.raw_bits(uint8_t(s), h_.delta.exclusive);
            }
            if (n == 0) continue;
            bits += entropy_bits(c);
            fixed += kinds > 1 ? kTableBits + kSymbolBits * kinds : 0;
        }
        return bits * double(step_) + fixed;
    }
    double sparse_cost() const {
        const Differences<T> seen = sample();
        const uint64_t rows = h_.row_count();
        Histogram gaps{}, found{};
        double raw = 0;
        uint64_t gap = 0;
        for (uint64_t r = 0; r < rows; r += step_) {
            for (size_t j = 0; j < length(r); j++, gap++) {
                uint64_t m;
                const uint8_t s = seen.symbol(r / step_ * h_.row_length + j, h_.delta.exclusive, m);
                if (!s) continue;
                gaps[size_t(Gaps::symbol(gap))]++;
                found[s]++;
                raw += Gaps::raw_bits(Gaps::symbol(gap)) + seen.raw_bits(s, h_.delta.exclusive);
                gap = uint64_t(0) - 1;
            }
        }
        return (entropy_bits(gaps) + entropy_bits(found) + raw) * double(step_) + 2 * kTableBits;
    }
    static double side_bits(const Vec<uint8_t>& bytes) { return 8.0 * double(write_bytes({bytes.begin(), bytes.end()}).size()); }
};

template <class T>
Encoded encode_as(const uint8_t* values, const uint8_t* base, uint64_t count, Mode mode, int shift,
                  const EncodeOptions& options) {
    DeltaEncoder<T> encoder(count, mode, shift, options);
    encoder.look(base, count);
    encoder.measure(0, values, base, count);
    Encoded found{encoder.header(), {}};
    found.chunks = encoder.code(0, values, base, count, options.threads);
    return found;
}

}  // namespace

Encoded encode_delta(const uint8_t* values, const uint8_t* base, uint64_t count, int width, Mode mode, int shift,
                     const EncodeOptions& options) {
    switch (width) {
        case 1: return encode_as<uint8_t>(values, base, count, mode, shift, options);
        case 2: return encode_as<uint16_t>(values, base, count, mode, shift, options);
        case 4: return encode_as<uint32_t>(values, base, count, mode, shift, options);
        default: return encode_as<uint64_t>(values, base, count, mode, shift, options);
    }
}

std::unique_ptr<DeltaStream> stream_delta(uint64_t count, int width, Mode mode, int shift, const EncodeOptions& options) {
    switch (width) {
        case 1: return std::make_unique<DeltaEncoder<uint8_t>>(count, mode, shift, options);
        case 2: return std::make_unique<DeltaEncoder<uint16_t>>(count, mode, shift, options);
        case 4: return std::make_unique<DeltaEncoder<uint32_t>>(count, mode, shift, options);
        default: return std::make_unique<DeltaEncoder<uint64_t>>(count, mode, shift, options);
    }
}

}  // namespace taut
