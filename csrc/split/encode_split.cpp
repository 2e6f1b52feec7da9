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
class SplitEncoder : public SplitStream {
public:
    SplitEncoder(Words<T> values, uint64_t count, Mode mode, int mantissa, const EncodeOptions& options,
                 const EncodeKernels& kernels)
        : values_(values), options_(options), mantissa_(mantissa), kernels_(kernels) {
        header_.kind = Kind::split;
        header_.width = sizeof(T);
        header_.mode = mode;
        header_.count = count;
        header_.row_length = options.row_length;
        choose_geometry(header_, options.max_effort, options.few_lanes);
        layout_ = {count, header_.row_length, header_.row_count()};
    }

    Encoded run() {
        if (is_constant()) return constant();
        choose_split(sample());
        find_zeros(0, layout_.rows);
        choose_drop();
        const RowScan scan = scan_rows(split(), layout_, centre(), everything(), kernels_);
        set_contexts(choose_contexts(scan, header_.traits(), most_classes(header_)));
        return code();
    }

    // The same in pieces of whole rows, for values that are not all at hand.
    std::vector<uint64_t> sample_places() const override {
        const Places p = places();
        std::vector<uint64_t> at;
        for (uint64_t b = 0; b < p.blocks; b++) at.push_back(b * p.apart);
        return at;
    }

    uint64_t chunk_values() const override { return header_.chunk_rows * header_.row_length; }

    void choose(const uint8_t* sampled, uint64_t n) override {
        std::vector<T> s(n);
        std::memcpy(s.data(), sampled, n * sizeof(T));
        choose_split(s);
        scan_.sampled = choose_probe(layout_, everything()).sampled;
        scan_.key.resize(layout_.rows);
    }

    void scan(uint64_t first, const uint8_t* bytes, uint64_t n) override {
        at(first, bytes);
        const auto [begin, end] = rows_of(first, n);
        const T one = values_[0];
        if (first == 0) constant_value_ = one;
        for (uint64_t i = 0; i < n && constant_; i++) constant_ = values_[i] == constant_value_;
        find_zeros(begin, end);
        const Probe probe = choose_probe(layout_, everything());
        std::vector<uint8_t> symbols(std::min(probe.most, size_t(layout_.row_length)) + 64);
        for (uint64_t r = begin; r < end; r++) {
            const size_t probed = probe_row(probe, r, symbols.data());
            scan_.key[r] = row_key(kernels_, symbols.data(), probed, centre());
            probed_ += probed;
        }
        if (end < layout_.rows) return;
        class_of_ = first_classes(scan_.key, most_classes(header_));
        counters_.resize(size_t(std::min<uint64_t>(uint64_t(most_classes(header_)), layout_.rows)));
        scan_.expansion = double(layout_.count) / double(std::max<uint64_t>(1, probed_));
        choose_drop();
    }

    void tally(uint64_t first, const uint8_t* bytes, uint64_t n) override {
        at(first, bytes);
        const auto [begin, end] = rows_of(first, n);
        const Probe probe = choose_probe(layout_, everything());
        std::vector<uint8_t> symbols(std::min(probe.most, size_t(layout_.row_length)) + 64);
        for (uint64_t r = begin; r < end; r++) {
            const size_t probed = probe_row(probe, r, symbols.data());
            counters_[class_of_[r]].add(symbols.data(), probed);
        }
    }

    std::vector<uint8_t> header() override {
        if (constant_) {
            std::memcpy(&header_.value, &constant_value_, sizeof(T));
            header_.kind = Kind::constant;
            return write_split_header(header_);
        }
        std::vector<Histogram> counts;
        for (Counter& c : counters_) counts.push_back(c.take());
        set_contexts(choose_contexts(scan_, counts, header_.traits(), most_classes(header_)));
        tables_ = make_tables(header_);
        return write_split_header(header_);
    }

    std::vector<std::vector<uint8_t>> code(uint64_t first, const uint8_t* bytes, uint64_t n, int threads) override {
        at(first, bytes);
        const uint64_t each = chunk_values(), begin = first / each;
        std::vector<std::vector<uint8_t>> chunks(constant_ ? 0 : (n + each - 1) / each);
        parallel_for(chunks.size(), threads,
                     [&](size_t c) { chunks[c] = code_chunk(header_, tables_, split(), begin + c, kernels_); });
        return chunks;
    }

private:
    // Of a stream: what the passes over it have found so far.
    uint64_t origin_ = 0, probed_ = 0;
    bool constant_ = true;
    T constant_value_{};
    RowScan scan_;
    std::vector<uint8_t> class_of_, zeros_;
    std::vector<Counter> counters_;
    std::array<uint64_t, 65> rows_with_{};
    RowTables tables_{{}, nullptr};

    void at(uint64_t first, const uint8_t* bytes) {
        origin_ = first;
        values_ = {bytes};
    }
    std::pair<uint64_t, uint64_t> rows_of(uint64_t first, uint64_t n) const {
        return {first / layout_.row_length, (first + n + layout_.row_length - 1) / layout_.row_length};
    }
    size_t probe_row(const Probe& probe, uint64_t r, uint8_t* out) const {
        const size_t length = layout_.length(r), n = probe.size(length);
        split().symbols(r * layout_.row_length + probe.begin(length), n, out);
        return n;
    }
    bool everything() const { return options_.max_effort || header_.low == 0; }

    void set_contexts(Contexts contexts) {
        header_.tables = std::move(contexts.tables);
        header_.rows = std::move(contexts.table_of);
        if (!header_.drop) return;
        header_.rows.resize(layout_.rows);
        for (uint64_t r = 0; r < layout_.rows; r++)
            if (zeros_[r] >= header_.drop) header_.rows[r] |= kDropRow;
    }

    Words<T> values_;
    EncodeOptions options_;
    int mantissa_;
    const EncodeKernels& kernels_;
    Layout layout_;
    ArrayHeader header_;

    bool skip_zero() const { return (header_.flags & kSkipZero) != 0; }
    SplitRule rule() const { return {header_.mode, header_.low, 0, skip_zero(), header_.base}; }
    SplitRows<T> split() const { return {values_, rule(), kernels_, origin_}; }
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
    struct Places {
        uint64_t size, blocks, apart;
    };
    Places places() const {
        const uint64_t most = options_.max_effort ? 256 : 96;
        const uint64_t size = std::min(kSampleBlock, header_.count);
        const uint64_t blocks = std::min(most, (header_.count + kSampleBlock - 1) / kSampleBlock);
        return {size, blocks, (header_.count - size) / std::max<uint64_t>(1, blocks - 1)};
    }
    std::vector<T> sample() const {
        const Places p = places();
        std::vector<T> s;
        s.reserve(p.blocks * p.size);
        for (uint64_t b = 0; b < p.blocks; b++)
            for (uint64_t i = 0; i < p.size; i++) s.push_back(values_[b * p.apart + i]);
        return s;
    }

    // The split that codes a sample in the fewest bits; tables of more than 64 buckets decode more slowly, so they
    // must save something.
    void choose_split(const std::vector<T>& s) {
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

    int droppable() const { return header_.mode == Mode::float_ ? header_.low - 1 : header_.low; }

    // Trailing zero bits of the values of some rows.
    void find_zeros(uint64_t begin, uint64_t end) {
        const int stored = droppable();
        zeros_.resize(layout_.rows, 0);
        if (stored < 4) return;
        for (uint64_t r = begin; r < end; r++) {
            const Words<T> v = values_ + (r * layout_.row_length - origin_);
            const size_t n = layout_.length(r);
            T any = 0;
            for (size_t i = 0; i < n && (any & 15) == 0;) {
                const size_t stop = std::min(n, i + 32);
                for (; i < stop; i++) any |= v[i];
            }
            const int t = any ? std::countr_zero(any) : stored;
            zeros_[r] = uint8_t(std::min(t, stored));
            rows_with_[zeros_[r]]++;
        }
    }

    // How many of them are worth leaving out, where rows have as many.
    void choose_drop() {
        uint64_t at_least = 0, best = 0;
        for (int d = droppable(); d >= 4; d--) {
            at_least += rows_with_[size_t(d)];
            const uint64_t saved = at_least * uint64_t(d);
            if (saved * layout_.row_length > layout_.rows * 8 && saved > best) {
                best = saved;
                header_.drop = uint8_t(d);
            }
        }
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

std::unique_ptr<SplitStream> stream_split(uint64_t count, int width, Mode mode, int mantissa,
                                          const EncodeOptions& options) {
    const EncodeKernels& kernels = best_encode_kernels();
    switch (width) {
        case 1: return std::make_unique<SplitEncoder<uint8_t>>(Words<uint8_t>{nullptr}, count, mode, mantissa, options, kernels);
        case 2: return std::make_unique<SplitEncoder<uint16_t>>(Words<uint16_t>{nullptr}, count, mode, mantissa, options, kernels);
        case 4: return std::make_unique<SplitEncoder<uint32_t>>(Words<uint32_t>{nullptr}, count, mode, mantissa, options, kernels);
        default: return std::make_unique<SplitEncoder<uint64_t>>(Words<uint64_t>{nullptr}, count, mode, mantissa, options, kernels);
    }
}

Encoded encode_split(const uint8_t* values, uint64_t count, int width, Mode mode, int mantissa,
                     const EncodeOptions& options) {
    return encode_split_with(best_encode_kernels(), values, count, width, mode, mantissa, options);
}

}  // namespace taut
