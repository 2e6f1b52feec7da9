// Differences to a base: which of the ways to put them costs the fewest bits, then chunk by chunk.
#include <cmath>

#include "base/parallel.hpp"
#include "delta/delta.hpp"
#include "delta/rules.hpp"

namespace taut {
namespace {

constexpr int kLead = 12;             // class of a difference whose expected length is 0
constexpr int64_t kNoClasses = 1 << 16;
constexpr uint64_t kSampled = uint64_t(1) << 20;  // values that the ways are judged by
constexpr double kTableBits = 160, kSymbolBits = 5;  // what a context costs

// log2, rounded to a whole number: the same on every machine. What is too small for a double is taken as small.
int octave(double x) { return std::ilogb(std::max(x, 1e-300) * 1.4142135623730951); }

template <class T>
class DeltaEncoder {
public:
    DeltaEncoder(const uint8_t* values, const uint8_t* base, uint64_t count, Mode mode, int shift,
                 const EncodeOptions& options)
        : values_(values), base_(base), options_(options), words_{mode} {
        h_.kind = Kind::delta;
        h_.width = sizeof(T);
        h_.mode = mode;
        h_.count = count;
        h_.row_length = options.row_length;
        h_.delta.shift = uint8_t(shift);
    }

    Encoded run() {
        measure();
        choose();
        // Threads share the chunks of one array. Places have no use for more of them, which take tables of their own.
        const uint64_t values = h_.delta.sparse ? kMaxChunkValues : kMaxChunkValues / 4;
        h_.chunk_rows = std::clamp<uint64_t>(values / h_.row_length, 1, std::max<uint64_t>(1, h_.row_count()));
        Encoded result{write_delta_header(h_), {}};
        result.chunks.resize(h_.chunk_count());
        parallel_for(result.chunks.size(), options_.threads, [&](size_t c) { result.chunks[c] = chunk(c); });
        return result;
    }

private:
    const uint8_t *values_, *base_;
    EncodeOptions options_;
    Ordered<T> words_;
    ArrayHeader h_;
    std::vector<int> row_octave_, column_octave_;  // of mean differences
    std::vector<bool> row_same_, column_same_;
    int top_ = 0;  // the largest exponent of the base
    bool few_ = false;  // values differ: places then decode faster than classes

    T at(const uint8_t* words, uint64_t i) const {
        T u;
        std::memcpy(&u, words + i * sizeof(T), sizeof u);
        return u;
    }
    size_t length(uint64_t r) const { return size_t(std::min(h_.row_length, h_.count - r * h_.row_length)); }

    // Magnitude and sign of a difference; the sign says whether the value came nearer to zero.
    uint64_t difference(uint64_t i, bool& down) const {
        const T u = at(base_, i), v = at(values_, i);
        const T d = T(words_.order(v) - words_.order(u));
        const bool below = d & Ordered<T>::kTop;
        down = below != words_.negative(u);
        return below ? T(T(0) - d) : d;
    }
    uint8_t symbol(uint64_t i, bool exclusive, uint64_t& magnitude) const {
        using M = Magnitudes<T>;
        if (exclusive) {
            magnitude = T(at(base_, i) ^ at(values_, i));
            return uint8_t(M::symbol(magnitude));
        }
        bool down;
        magnitude = difference(i, down);
        return magnitude ? uint8_t(2 * M::symbol(magnitude) + int(down)) : uint8_t(0);
    }
    static int raw_bits(uint8_t s, bool exclusive) {
        using M = Magnitudes<T>;
        return M::raw_bits(exclusive ? s : s >> 1);
    }

    // How large the differences of rows and columns are, in the base's own unit and in octaves.
    void measure() {
        const Classes<T> classes(h_);
        const uint64_t rows = h_.row_count(), columns = std::min(h_.row_length, h_.count);
        for (uint64_t i = 0; i < h_.count; i++) top_ = std::max(top_, classes.key(at(base_, i)));
        row_octave_.assign(rows, 0);
        row_same_.assign(rows, true);
        column_octave_.assign(h_.row_length, 0);
        column_same_.assign(h_.row_length, true);
        std::vector<double> of_column(h_.row_length, 0), weight(h_.row_length, 0);
        uint64_t differ = 0;
        for (uint64_t r = 0; r < rows; r++) {
            const size_t n = length(r);
            double sum = 0;
            for (size_t j = 0; j < n; j++) {
                const uint64_t i = r * h_.row_length + j;
                if (at(base_, i) == at(values_, i)) continue;
                differ++;
                sum += size_of(classes, i);
                row_same_[r] = column_same_[j] = false;
            }
            if (row_same_[r]) continue;
            row_octave_[r] = octave(sum / double(n)) + top_;
            for (size_t j = 0; j < n; j++) {
                of_column[j] += std::ldexp(size_of(classes, r * h_.row_length + j), top_ - row_octave_[r]);
                weight[j] += 1;
            }
        }
        few_ = differ * 8 < h_.count;
        for (uint64_t j = 0; j < columns; j++)
            if (!column_same_[j]) column_octave_[j] = octave(of_column[j] / weight[j]);
    }
    double size_of(const Classes<T>& classes, uint64_t i) const {
        bool down;
        const uint64_t m = difference(i, down);
        return m ? std::ldexp(double(m), classes.key(at(base_, i)) - top_) : 0.0;
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
        const uint64_t rows = h_.row_count(), step = std::max<uint64_t>(1, h_.count / kSampled);
        std::vector<Histogram> counts(kDeltaClasses);
        for (Histogram& c : counts) c.fill(0);
        for (uint64_t r = 0; r < rows; r += step) {
            const uint8_t row = h_.delta.rows[r];
            if (row == kUntouched) continue;
            for (size_t j = 0; j < length(r); j++) {
                const uint8_t column = h_.delta.columns[j];
                if (column == kUntouched) continue;
                const uint64_t i = r * h_.row_length + j;
                uint64_t m;
                counts[classes.of(at(base_, i), row + column)][symbol(i, h_.delta.exclusive, m)]++;
            }
        }
        double bits = 0, fixed = side_bits(h_.delta.rows) + side_bits(h_.delta.columns);
        for (const Histogram& c : counts) {
            double n = 0, kinds = 0;
            for (int s = 0; s < 256; s++) {
                n += c[s];
                kinds += c[s] != 0;
                bits += double(c[s]) * raw_bits(uint8_t(s), h_.delta.exclusive);
            }
            if (n == 0) continue;
            bits += entropy_bits(c);
            fixed += kinds > 1 ? kTableBits + kSymbolBits * kinds : 0;
        }
        return bits * double(step) + fixed;
    }
    double sparse_cost() const {
        const uint64_t rows = h_.row_count(), step = std::max<uint64_t>(1, h_.count / kSampled);
        Histogram gaps{}, found{};
        double raw = 0;
        uint64_t gap = 0;
        for (uint64_t r = 0; r < rows; r += step) {
            for (size_t j = 0; j < length(r); j++, gap++) {
                uint64_t m;
                const uint8_t s = symbol(r * h_.row_length + j, h_.delta.exclusive, m);
                if (!s) continue;
                gaps[size_t(Gaps::symbol(gap))]++;
                found[s]++;
                raw += Gaps::raw_bits(Gaps::symbol(gap)) + raw_bits(s, h_.delta.exclusive);
                gap = uint64_t(0) - 1;
            }
        }
        return (entropy_bits(gaps) + entropy_bits(found) + raw) * double(step) + 2 * kTableBits;
    }
    static double side_bits(const Vec<uint8_t>& bytes) { return 8.0 * double(write_bytes({bytes.begin(), bytes.end()}).size()); }

    std::vector<uint8_t> chunk(uint64_t number) const {
        const Classes<T> classes(h_);
        const uint64_t first = number * h_.chunk_rows, last = std::min(first + h_.chunk_rows, h_.row_count());
        if (h_.delta.sparse) return sparse_chunk(first, last);
        std::vector<std::vector<uint8_t>> of(kDeltaClasses);
        BitWriter raw;
        for (uint64_t r = first; r < last; r++) {
            const uint8_t row = h_.delta.rows[r];
            if (row == kUntouched) continue;
            for (size_t j = 0; j < length(r); j++) {
                const uint8_t column = h_.delta.columns[j];
                if (column == kUntouched) continue;
                const uint64_t i = r * h_.row_length + j;
                uint64_t m;
                const uint8_t s = symbol(i, h_.delta.exclusive, m);
                of[classes.of(at(base_, i), row + column)].push_back(s);
                put_lowest(raw, m, raw_bits(s, h_.delta.exclusive));
            }
        }
        std::vector<uint8_t> symbols;
        for (const auto& some : of) symbols.insert(symbols.end(), some.begin(), some.end());
        std::vector<uint8_t> out;
        if (symbols.empty()) return out;
        put_symbols(out, symbols);
        append(out, raw.finish());
        return out;
    }
    static void put_lowest(BitWriter& raw, uint64_t m, int bits) {
        if (bits > 32) {
            raw.put(m & 0xffffffff, 32);
            m >>= 32;
            bits -= 32;
        }
        if (bits) raw.put(m & ((uint64_t(1) << bits) - 1), bits);
    }

    std::vector<uint8_t> sparse_chunk(uint64_t first, uint64_t last) const {
        std::vector<uint8_t> gaps, found, out;
        BitWriter raw;
        uint64_t gap = 0;
        const uint64_t end = std::min(h_.count, last * h_.row_length);
        for (uint64_t i = first * h_.row_length; i < end; i++, gap++) {
            uint64_t m;
            const uint8_t s = symbol(i, h_.delta.exclusive, m);
            if (!s) continue;
            gaps.push_back(uint8_t(Gaps::symbol(gap)));
            found.push_back(s);
            put_lowest(raw, gap, Gaps::raw_bits(Gaps::symbol(gap)));
            put_lowest(raw, m, raw_bits(s, h_.delta.exclusive));
            gap = uint64_t(0) - 1;
        }
        if (found.empty()) return out;
        put_varint(out, found.size());
        put_symbols(out, gaps);
        put_symbols(out, found);
        append(out, raw.finish());
        return out;
    }

    static void append(std::vector<uint8_t>& out, const std::vector<uint8_t>& bytes) {
        out.insert(out.end(), bytes.begin(), bytes.end());
    }

    void put_symbols(std::vector<uint8_t>& out, const std::vector<uint8_t>& symbols) const {
        EncodeOptions options;
        // Four lanes take fewer bytes, and decode a third as fast.
        const size_t few = h_.delta.sparse ? 1 << 18 : options_.max_effort ? 1 << 16 : 1 << 14;
        options.max_effort = options_.max_effort || h_.delta.sparse;
        options.few_lanes = symbols.size() < few;
        options.row_length = std::clamp<uint64_t>(symbols.size() / 512, 64, 4096);
        const Encoded coded = encode_split(symbols.data(), symbols.size(), 1, Mode::unsigned_, 0, options);
        put_varint(out, coded.header.size());
        append(out, coded.header);
        for (const auto& part : coded.chunks) {
            put_varint(out, part.size());
            append(out, part);
        }
    }
};

template <class T>
Encoded encode_as(const uint8_t* values, const uint8_t* base, uint64_t count, Mode mode, int shift,
                  const EncodeOptions& options) {
    return DeltaEncoder<T>(values, base, count, mode, shift, options).run();
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

}  // namespace taut
