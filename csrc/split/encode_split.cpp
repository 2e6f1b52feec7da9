// Values to coded arrays without loss: how to split them, which contexts, then chunk by chunk.
#include <bit>

#include "base/parallel.hpp"
#include "split/chunk.hpp"
#include "split/scan.hpp"
#include "split/split.hpp"

namespace taut {
namespace {

constexpr double kWidePrice = 0.0005;  // of the bits, per doubling of the buckets

template <class T>
class SplitEncoder {
public:
    SplitEncoder(Words<T> values, uint64_t count, Mode mode, int mantissa, const EncodeOptions& options,
                 const EncodeKernels& kernels)
        : values_(values), options_(options), mantissa_(mantissa), kernels_(kernels) {
        header_.kind = Kind::split;
        header_.width = sizeof(T);
        header_.mode = mode;
        header_.count = count;
        header_.row_length = options.row_length;
        choose_geometry(header_, options.max_effort);
        layout_ = {count, header_.row_length, header_.row_count()};
    }

    Encoded run() {
        if (is_constant()) return constant();
        choose_split();
        const std::vector<uint8_t> drops = find_drops();
        const RowScan scan = scan_rows(split(), layout_, centre(), options_.max_effort || header_.low == 0, kernels_);
        Contexts contexts = choose_contexts(scan, header_.traits(), most_classes(header_));
        header_.tables = std::move(contexts.tables);
        header_.rows = std::move(contexts.table_of);
        if (header_.drop) {
            header_.rows.resize(layout_.rows);
            for (uint64_t r = 0; r < layout_.rows; r++)
                if (drops[r] >= header_.drop) header_.rows[r] |= kDropRow;
        }
        return code();
    }

private:
    Words<T> values_;
    EncodeOptions options_;
    int mantissa_;
    const EncodeKernels& kernels_;
    Layout layout_;
    ArrayHeader header_;

    bool skip_zero() const { return (header_.flags & kSkipZero) != 0; }
    SplitRule rule() const { return {header_.mode, header_.low, 0, skip_zero(), header_.base}; }
    SplitRows<T> split() const { return {values_, rule(), kernels_}; }
    // Symbol of the words next to zero: what rows spread around. Magnitudes spread from symbol 0.
    uint8_t centre() const {
        if (header_.mode != Mode::signed_) return 0;
        const uint64_t middle = uint64_t(SplitRows<T>::top) >> header_.low;
        return uint8_t(std::clamp<int64_t>(int64_t(middle - header_.base), -1, 253) + 1);
    }

    bool is_constant() const {
        for (uint64_t i = 1; i < header_.count; i++)
            if (values_[i] != values_[0]) return false;
        return true;
    }

    Encoded constant() {
        header_.kind = Kind::constant;
        if (header_.count) std::memcpy(&header_.value, values_.bytes, sizeof(T));
        return {write_split_header(header_), {}};
    }

    // Blocks of 64 values from all over the array.
    std::vector<T> sample() const {
        constexpr uint64_t block = 64;
        const uint64_t most = options_.max_effort ? 256 : 96;
        const uint64_t size = std::min(block, header_.count);
        const uint64_t blocks = std::min(most, (header_.count + block - 1) / block);
        const uint64_t apart = (header_.count - size) / std::max<uint64_t>(1, blocks - 1);
        std::vector<T> s;
        s.reserve(blocks * size);
        for (uint64_t b = 0; b < blocks; b++)
            for (uint64_t i = 0; i < size; i++) s.push_back(values_[b * apart + i]);
        return s;
    }

    // The split that codes a sample in the fewest bits; tables of more than 64 buckets decode more slowly, so they
    // must save something.
    void choose_split() {
        const std::vector<T> s = sample();
        uint64_t zeros = 0, least = ~uint64_t(0), largest = 0;
        for (T u : s) {
            const uint64_t k = SplitRows<T>::key(u, header_.mode);
            zeros += k == 0;
            if (k == 0 && header_.mode != Mode::signed_) continue;
            least = std::min(least, k);
            largest = std::max(largest, k);
        }
        if (least > largest) least = largest;
        if (zeros * 64 > s.size() && header_.mode == Mode::float_) header_.flags |= kSkipZero;
        double best = 1e300;
        int low = 0;
        uint64_t base = 0;
        for (int candidate : candidates(least, largest)) {
            header_.low = uint8_t(candidate);
            const int by = split().shift();
            header_.base = window_base(least >> by, largest >> by);
            const double bits = sample_bits(s);
            if (bits < best) {
                best = bits;
                low = candidate;
                base = header_.base;
            }
        }
        header_.low = uint8_t(low);
        header_.base = base;
    }

    // Bits of the whole array under the split in the header, judged by a sample.
    double sample_bits(const std::vector<T>& s) const {
        std::vector<uint8_t> bytes(s.size());
        SplitRows<T>{words_of(s), rule(), kernels_}.symbols(0, s.size(), bytes.data());
        Counter counter;
        counter.add(bytes.data(), bytes.size());
        Histogram counts = counter.take();
        const double scale = double(header_.count) / double(s.size());
        const size_t bare = skip_zero() ? counts[0] + counts[kMinusZero] : 0;
        const double raw = double(header_.low) * double(s.size() - bare) + counts[kException] * 8.0 * sizeof(T);
        for (uint32_t& c : counts) c = uint32_t(c * scale + 0.5);
        const Table table = make_table(counts, header_.traits(), true);
        const double bits = cost_bits(counts, table, header_.traits()) + scale * raw;
        return bits * (1 + kWidePrice * (table.bucket_bits - 6));
    }

    // Floats: the exponent alone and with one to four bits of the mantissa. Integers: as many upper bits as a byte
    // holds, then fewer.
    std::vector<int> candidates(uint64_t least, uint64_t largest) const {
        std::vector<int> c;
        const int bits = int(sizeof(T)) * 8;
        if (header_.mode == Mode::float_) {
            for (int m = 0; m <= (options_.max_effort ? 4 : 1) && mantissa_ - m >= 0; m++)
                if (mantissa_ - m + 1 <= kMaxLow) c.push_back(mantissa_ - m + 1);
            return c;
        }
        const uint64_t range = largest - least;
        const int shed = std::max(0, int(std::bit_width(range)) - 8);
        for (int i = 0; i <= 4; i++)
            if (shed + i < bits && shed + i <= kMaxLow) c.push_back(shed + i);
        return c;
    }

    // Upper part of symbol 1. Floats: the largest upper part stands near the top of the window, since small values
    // tail off slowly; integers: the window is centred. Part 0 has a symbol of its own.
    uint64_t window_base(uint64_t least, uint64_t largest) const {
        constexpr uint64_t window = kException - 1;
        if (header_.mode == Mode::float_) return largest + 4 > window ? largest + 4 - window : 1;
        const uint64_t used = largest - least + 1, slack = used < window ? (window - used) / 2 : 0;
        return least > slack ? least - slack : 1;  // never 0: that part has symbol 0
    }

    // Trailing zero bits of each row's values, 0 where they would not pay; sets header_.drop.
    std::vector<uint8_t> find_drops() {
        const int stored = header_.mode == Mode::float_ ? header_.low - 1 : header_.low;
        std::vector<uint8_t> zeros(layout_.rows, 0);
        if (stored < 4) return zeros;
        std::array<uint64_t, 65> rows{};
        for (uint64_t r = 0; r < layout_.rows; r++) {
            const Words<T> v = values_ + r * layout_.row_length;
            const size_t n = layout_.length(r);
            T any = 0;
            for (size_t i = 0; i < n && (any & 15) == 0;) {
                const size_t stop = std::min(n, i + 32);
                for (; i < stop; i++) any |= v[i];
            }
            const int t = any ? std::countr_zero(any) : stored;
            zeros[r] = uint8_t(std::min(t, stored));
            rows[zeros[r]]++;
        }
        uint64_t at_least = 0, best = 0;
        for (int d = stored; d >= 4; d--) {
            at_least += rows[size_t(d)];
            const uint64_t saved = at_least * uint64_t(d);
            if (saved * layout_.row_length > layout_.rows * 8 && saved > best) {
                best = saved;
                header_.drop = uint8_t(d);
            }
        }
        return zeros;
    }

    Encoded code() {
        Encoded result;
        result.header = write_split_header(header_);
        result.chunks.resize(header_.chunk_count());
        const RowTables tables = make_tables(header_);
        parallel_for(result.chunks.size(), options_.threads, [&](size_t c) {
            result.chunks[c] = code_chunk(header_, tables, split(), c, kernels_);
        });
        size_t bytes = result.header.size();
        for (const auto& chunk : result.chunks) bytes += chunk.size();
        return bytes < header_.output_bytes() ? result : stored();
    }

    Encoded stored() const {
        ArrayHeader h;
        h.width = header_.width;
        h.count = header_.count;
        h.row_length = header_.row_length;
        h.chunk_rows = header_.chunk_rows;
        Encoded result{write_split_header(h), {}};
        const uint64_t size = h.chunk_rows * h.row_length * sizeof(T), all = h.output_bytes();
        for (uint64_t at = 0; at < all; at += size)
            result.chunks.emplace_back(values_.bytes + at, values_.bytes + std::min(all, at + size));
        return result;
    }
};

template <class T>
Encoded encode_as(const uint8_t* values, uint64_t count, Mode mode, int mantissa, const EncodeOptions& options,
                  const EncodeKernels& kernels) {
    return SplitEncoder<T>({values}, count, mode, mantissa, options, kernels).run();
}

}  // namespace

Encoded encode_split_with(const EncodeKernels& kernels, const uint8_t* values, uint64_t count, int width, Mode mode,
                          int mantissa, const EncodeOptions& options) {
    switch (width) {
        case 1: return encode_as<uint8_t>(values, count, mode, mantissa, options, kernels);
        case 2: return encode_as<uint16_t>(values, count, mode, mantissa, options, kernels);
        case 4: return encode_as<uint32_t>(values, count, mode, mantissa, options, kernels);
        default: return encode_as<uint64_t>(values, count, mode, mantissa, options, kernels);
    }
}

Encoded encode_split(const uint8_t* values, uint64_t count, int width, Mode mode, int mantissa,
                     const EncodeOptions& options) {
    return encode_split_with(best_encode_kernels(), values, count, width, mode, mantissa, options);
}

}  // namespace taut
