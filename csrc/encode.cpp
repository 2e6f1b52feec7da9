// Values to coded arrays: how to split them, which contexts, then chunk by chunk.
#include "encode.hpp"

#include <bit>
#include <algorithm>
#include <cmath>

#include "contexts.hpp"
#include "parallel.hpp"
#include "varint.hpp"

namespace laconic {
namespace {

constexpr uint64_t kFastChunk = uint64_t(1) << 18, kDenseChunk = uint64_t(1) << 20;

// Small arrays cannot pay for many lanes' final states, nor for the coarse table of the fast coder.
CoderId choose_coder(uint64_t count, bool max_effort) {
    if (count < 8192) return CoderId::small;
    return max_effort || count < 49152 ? CoderId::dense : CoderId::fast;
}

// --- symbols of a row: the same for lossless upper parts and for indices -----------------------------------------

template <class T>
struct SplitSymbols {
    const T* values;
    Mode mode;
    int low;
    uint64_t base;

    static constexpr T top = T(T(1) << (sizeof(T) * 8 - 1));
    static T key(T u, Mode mode) {
        return mode == Mode::float_ ? T(u & T(~top)) : mode == Mode::signed_ ? T(u ^ top) : u;
    }
    int shift() const { return mode == Mode::float_ ? low - 1 : low; }
    uint64_t high(T u) const { return uint64_t(key(u, mode)) >> shift(); }
    void row(uint64_t from, size_t n, bool skip_zero, uint8_t* out) const {
        const T first = T(base);
        const int by = shift();
        const auto fill = [&](auto to_key) {
            for (size_t i = 0; i < n; i++) {
                const T h = T(T(to_key(values[from + i])) >> by);
                const T s = T(h - first + 1);  // wraps below the window
                out[i] = h >= first && s < kException ? uint8_t(s) : h == 0 ? 0 : kException;
            }
        };
        switch (mode) {
            case Mode::float_: fill([](T u) { return T(u & T(~top)); }); break;
            case Mode::signed_: fill([](T u) { return T(u ^ top); }); break;
            case Mode::unsigned_: fill([](T u) { return u; }); break;
        }
        if (!skip_zero) return;
        // Only +0 keeps no raw bits; -0 and what else has a zero upper part are exceptions.
        for (size_t i = 0; i < n; i++)
            if (out[i] == 0 && values[from + i] != 0) out[i] = kException;
    }
};

struct IndexSymbols {
    const int32_t* indices;
    void row(uint64_t from, size_t n, bool, uint8_t* out) const {
        for (size_t i = 0; i < n; i++) {
            const int32_t q = indices[from + i];
            out[i] = q >= -127 && q <= 126 ? uint8_t(q + 128) : kException;
        }
    }
};

// --- scanning --------------------------------------------------------------------------------------------------

struct Layout {
    uint64_t count, row_length, rows;
    size_t length(uint64_t r) const { return size_t(std::min(row_length, count - r * row_length)); }
};

// Symbols of all of a small array, or of part of every row; the scale of a row is its mean symbol (a mean log
// magnitude) or, for indices and integers, the mean distance from the middle.
template <class Symbols>
RowScan scan_rows(const Symbols& symbols, const Layout& layout, bool skip_zero, bool centred, bool everything) {
    RowScan scan;
    const size_t row = size_t(layout.row_length);
    // A block of 64 from the middle of each row tells its scale to a fifth of an octave.
    const size_t probe = everything || layout.count < 100000 ? row : std::max<size_t>(64, row / 6);
    scan.sampled = probe < row;
    scan.scale.resize(layout.rows);
    scan.probed.resize(layout.rows);
    scan.symbols.resize(layout.rows * std::min(probe, row));
    size_t at = 0;
    for (uint64_t r = 0; r < layout.rows; r++) {
        const size_t length = layout.length(r), n = std::min(probe, length);
        uint8_t* out = scan.symbols.data() + at;
        symbols.row(r * layout.row_length + (length - n) / 2, n, skip_zero, out);
        uint64_t sum = 0;
        if (centred)
            for (size_t i = 0; i < n; i++) sum += uint64_t(out[i] > 128 ? out[i] - 128 : 128 - out[i]);
        else
            for (size_t i = 0; i < n; i++) sum += out[i];
        scan.scale[r] = float(double(sum) / double(n));
        scan.probed[r] = uint32_t(n);
        at += n;
    }
    scan.symbols.resize(at);
    scan.expansion = double(layout.count) / double(std::max<size_t>(1, at));
    return scan;
}

// --- chunks ----------------------------------------------------------------------------------------------------

struct RowTables {
    std::vector<EncodeTable> tables;
    const std::vector<uint8_t>* rows;
    size_t of(uint64_t row) const { return rows->empty() ? 0 : size_t((*rows)[row] & ~kDropRow); }
};

RowTables make_tables(const ArrayHeader& h) {
    RowTables t{{}, &h.rows};
    for (const Table& table : h.tables)
        t.tables.push_back(h.coder == CoderId::fast ? make_encode_table<Fast>(table) : make_encode_table<Dense>(table));
    return t;
}

// Assembles one chunk from its parts; `raw` and `exceptions` are in row order, symbols are grouped here.
template <class Symbols>
std::vector<uint8_t> code_chunk(const ArrayHeader& h, const RowTables& tables, const Symbols& symbols, uint64_t chunk,
                                const std::vector<uint8_t>& raw, const std::vector<uint8_t>& exceptions) {
    const Layout layout{h.count, h.row_length, h.row_count()};
    const uint64_t first = chunk * h.chunk_rows, last = std::min(first + h.chunk_rows, layout.rows);
    std::array<size_t, kMaxTables> count{}, at{};
    for (uint64_t r = first; r < last; r++) count[tables.of(r)] += layout.length(r);
    for (size_t t = 1; t < kMaxTables; t++) at[t] = at[t - 1] + count[t - 1];
    static thread_local std::vector<uint8_t> grouped;
    grouped.resize(at[kMaxTables - 1] + count[kMaxTables - 1]);
    std::array<size_t, kMaxTables> begin = at;
    for (uint64_t r = first; r < last; r++) {
        size_t& to = at[tables.of(r)];
        symbols.row(r * h.row_length, layout.length(r), (h.flags & kSkipZero) != 0, grouped.data() + to);
        to += layout.length(r);
    }
    std::vector<SymbolRun> runs;
    std::vector<uint8_t> tail;
    for (size_t t = 0; t < tables.tables.size(); t++) {
        const SymbolRun run{&tables.tables[t], grouped.data() + begin[t], count[t]};
        runs.push_back(run);
        if (run.table->escape_frequency)
            for (size_t i = 0; i < run.count; i++)
                if (run.table->frequency[run.symbols[i]] == 0) tail.push_back(run.symbols[i]);
    }
    if (!tail.empty()) tail = write_bytes(tail);
    const Units units = h.coder == CoderId::fast    ? encode_runs<Fast, 128>(runs)
                        : h.coder == CoderId::dense ? encode_runs<Dense, 64>(runs)
                                                    : encode_runs<Dense, 4>(runs);
    std::vector<uint8_t> out;
    out.reserve(30 + raw.size() + units.units.size() + tail.size() + exceptions.size() + units.states.size());
    put_varint(out, units.units.size());
    put_varint(out, tail.size());
    put_varint(out, exceptions.size());
    for (const std::vector<uint8_t>* part : std::initializer_list<const std::vector<uint8_t>*>{
             &raw, &units.units, &tail, &exceptions, &units.states})
        out.insert(out.end(), part->begin(), part->end());
    return out;
}

// --- lossless ----------------------------------------------------------------------------------------------------

template <class T>
class SplitEncoder {
public:
    SplitEncoder(const T* values, uint64_t count, Mode mode, int mantissa, const EncodeOptions& options)
        : values_(values), options_(options), layout_{count, options.row_length, 0} {
        layout_.rows = count / layout_.row_length + (count % layout_.row_length != 0);
        header_.kind = Kind::split;
        header_.coder = choose_coder(count, options.max_effort);
        header_.width = sizeof(T);
        header_.mode = mode;
        header_.count = count;
        header_.row_length = layout_.row_length;
        const uint64_t chunk = header_.coder == CoderId::fast ? kFastChunk : kDenseChunk;
        header_.chunk_rows = std::clamp<uint64_t>(chunk / layout_.row_length, 1, std::max<uint64_t>(1, layout_.rows));
        mantissa_ = mantissa;
    }

    Encoded run() {
        if (is_constant()) return constant();
        choose_split();
        const std::vector<uint8_t> drops = find_drops();
        const RowScan scan = scan_rows(symbols(), layout_, skip_zero(), header_.mode == Mode::signed_, options_.max_effort);
        const int classes = layout_.rows > 1 ? int(std::clamp<uint64_t>(header_.count / 8192, 1, 16)) : 1;
        Contexts contexts = choose_contexts(scan, header_.traits(), classes);
        header_.tables = std::move(contexts.tables);
        header_.rows = std::move(contexts.table_of);
        if (header_.drop) {
            header_.rows.resize(layout_.rows, 0);
            for (uint64_t r = 0; r < layout_.rows; r++)
                if (drops[r] >= header_.drop) header_.rows[r] |= kDropRow;
        }
        return code();
    }

private:
    const T* values_;
    EncodeOptions options_;
    Layout layout_;
    ArrayHeader header_;
    int mantissa_;

    bool skip_zero() const { return (header_.flags & kSkipZero) != 0; }
    SplitSymbols<T> symbols() const { return {values_, header_.mode, header_.low, header_.base}; }

    bool is_constant() const {
        for (uint64_t i = 1; i < header_.count; i++)
            if (values_[i] != values_[0]) return false;
        return true;
    }

    Encoded constant() {
        header_.kind = Kind::constant;
        if (header_.count) std::memcpy(&header_.value, values_, sizeof(T));
        return {write_header(header_), {}};
    }

    std::vector<T> sample() const {
        constexpr uint64_t block = 64, most = 256;
        std::vector<T> s;
        const uint64_t blocks = std::min(most, (header_.count + block - 1) / block);
        for (uint64_t b = 0; b < blocks; b++) {
            const uint64_t from = b * ((header_.count - std::min(block, header_.count)) / std::max<uint64_t>(1, blocks - 1));
            for (uint64_t i = from; i < std::min(from + block, header_.count); i++) s.push_back(values_[i]);
        }
        return s;
    }

    // The split that codes a sample in the fewest bits.
    void choose_split() {
        const std::vector<T> s = sample();
        uint64_t zeros = 0, least = ~uint64_t(0), largest = 0;
        for (T u : s) {
            const uint64_t k = SplitSymbols<T>::key(u, header_.mode);
            zeros += u == 0;
            if (u == 0 && header_.mode != Mode::signed_) continue;
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
            const int by = symbols().shift();
            header_.base = window_base(least >> by, largest >> by);
            std::vector<uint8_t> bytes(s.size());
            const SplitSymbols<T> split{s.data(), header_.mode, header_.low, header_.base};
            split.row(0, s.size(), skip_zero(), bytes.data());
            Histogram counts{};
            for (uint8_t b : bytes) counts[b]++;
            const uint32_t bare = skip_zero() ? counts[0] : 0;
            const double scale = double(header_.count) / double(s.size());
            Histogram full;
            for (size_t i = 0; i < 256; i++) full[i] = uint32_t(counts[i] * scale + 0.5);
            const double bits = cost_bits(full, header_.traits(), true) +
                                scale * (double(candidate) * double(s.size() - bare) +
                                         counts[kException] * 8.0 * sizeof(T));
            if (bits < best) {
                best = bits;
                low = candidate;
                base = header_.base;
            }
        }
        header_.low = uint8_t(low);
        header_.base = base;
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
        if (c.empty()) c.push_back(std::min(kMaxLow, bits - 1));
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
            const T* v = values_ + r * layout_.row_length;
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
        result.header = write_header(header_);
        result.chunks.resize(header_.chunk_count());
        const RowTables tables = make_tables(header_);
        parallel_for(result.chunks.size(), options_.threads, [&](size_t c) {
            static thread_local std::vector<uint8_t> raw, exceptions;
            pack_rows(c, raw, exceptions);
            result.chunks[c] = code_chunk(header_, tables, symbols(), c, raw, exceptions);
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
        Encoded result{write_header(h), {}};
        const auto* bytes = reinterpret_cast<const uint8_t*>(values_);
        const uint64_t size = h.chunk_rows * h.row_length * sizeof(T), all = h.output_bytes();
        for (uint64_t at = 0; at < all; at += size)
            result.chunks.emplace_back(bytes + at, bytes + std::min(all, at + size));
        return result;
    }

    // Raw bits and exceptions of one chunk, in row order; each row's raw bits start at a byte.
    void pack_rows(uint64_t chunk, std::vector<uint8_t>& raw, std::vector<uint8_t>& exceptions) const {
        const uint64_t first = chunk * header_.chunk_rows, last = std::min(first + header_.chunk_rows, layout_.rows);
        const SplitSymbols<T> split = symbols();
        exceptions.clear();
        raw.resize((last - first) * (size_t(layout_.row_length) * header_.low / 8 + 1) + 16);
        uint8_t* out = raw.data();
        for (uint64_t r = first; r < last; r++) {
            const T* v = values_ + r * layout_.row_length;
            const size_t n = layout_.length(r);
            const bool dropped = !header_.rows.empty() && header_.rows[r] & kDropRow;
            out = pack_row(v, n, dropped ? header_.drop : 0, out);
            for (size_t i = 0; i < n; i++) {
                const uint64_t high = split.high(v[i]);
                const bool inside = high - header_.base + 1 < kException && high >= header_.base;
                const bool zero = high == 0 && !(skip_zero() && v[i] != 0);
                if (inside || zero) continue;
                const T kept = T(high);
                const auto* p = reinterpret_cast<const uint8_t*>(&kept);
                exceptions.insert(exceptions.end(), p, p + sizeof kept);
            }
        }
        raw.resize(size_t(out - raw.data()));
    }

    uint8_t* pack_row(const T* v, size_t n, int drop, uint8_t* out) const {
        const int low = header_.low, packed = low - drop;
        constexpr int top = int(sizeof(T)) * 8 - 1;
        const bool is_float = header_.mode == Mode::float_;
        const int plain = is_float ? low - 1 : low;
        const uint64_t mask = (uint64_t(1) << plain) - 1;
        uint64_t hold = 0;
        int fill = 0;
        for (size_t i = 0; i < n; i++) {
            if (skip_zero() && v[i] == 0) continue;
            const uint64_t u = v[i];
            uint64_t field = u & mask;
            if (is_float) field |= (u >> top) << plain;
            field >>= drop;
            hold |= field << fill;
            fill += packed;
            if (fill >= 64) {
                std::memcpy(out, &hold, 8);
                out += 8;
                fill -= 64;
                hold = fill ? field >> (packed - fill) : 0;
            }
        }
        std::memcpy(out, &hold, 8);
        return out + (fill + 7) / 8;
    }
};

template <class T>
Encoded encode_as(const uint8_t* values, uint64_t count, Mode mode, int mantissa, const EncodeOptions& options) {
    return SplitEncoder<T>(reinterpret_cast<const T*>(values), count, mode, mantissa, options).run();
}

ArrayHeader uniform_header(uint64_t count, const EncodeOptions& options) {
    ArrayHeader h;
    h.kind = Kind::uniform;
    h.coder = choose_coder(count, options.max_effort);
    h.count = count;
    h.row_length = options.row_length;
    const uint64_t chunk = h.coder == CoderId::fast ? kFastChunk : kDenseChunk;
    h.chunk_rows = std::clamp<uint64_t>(chunk / h.row_length, 1, std::max<uint64_t>(1, h.row_count()));
    return h;
}

Contexts index_contexts(const ArrayHeader& h, const int32_t* indices, bool everything) {
    const Layout layout{h.count, h.row_length, h.row_count()};
    const RowScan scan = scan_rows(IndexSymbols{indices}, layout, false, true, everything);
    const int classes = layout.rows > 1 ? int(std::clamp<uint64_t>(h.count / 8192, 1, 16)) : 1;
    return choose_contexts(scan, h.traits(), classes);
}

}  // namespace

Encoded encode_split(const uint8_t* values, uint64_t count, int width, Mode mode, int mantissa,
                     const EncodeOptions& options) {
    switch (width) {
        case 1: return encode_as<uint8_t>(values, count, mode, mantissa, options);
        case 2: return encode_as<uint16_t>(values, count, mode, mantissa, options);
        case 4: return encode_as<uint32_t>(values, count, mode, mantissa, options);
        default: return encode_as<uint64_t>(values, count, mode, mantissa, options);
    }
}

Encoded encode_uniform(const int32_t* indices, uint64_t count, float step, std::array<float, 3> offsets, Output output,
                       const EncodeOptions& options) {
    ArrayHeader h = uniform_header(count, options);
    constexpr uint8_t widths[4] = {4, 2, 2, 8};
    h.output = output;
    h.width = widths[int(output)];
    h.step = step;
    h.offsets = offsets;
    Contexts contexts = index_contexts(h, indices, true);
    h.tables = std::move(contexts.tables);
    h.rows = std::move(contexts.table_of);
    Encoded result;
    result.header = write_header(h);
    result.chunks.resize(h.chunk_count());
    const RowTables tables = make_tables(h);
    parallel_for(result.chunks.size(), options.threads, [&](size_t c) {
        const uint64_t from = c * h.chunk_rows * h.row_length;
        const uint64_t to = std::min(count, from + h.chunk_rows * h.row_length);
        std::vector<uint8_t> exceptions;
        for (uint64_t i = from; i < to; i++)
            if (indices[i] < -127 || indices[i] > 126) put_raw(exceptions, indices[i]);
        result.chunks[c] = code_chunk(h, tables, IndexSymbols{indices}, c, {}, exceptions);
    });
    return result;
}

double estimate_uniform(const int32_t* indices, uint64_t count, const EncodeOptions& options) {
    const ArrayHeader h = uniform_header(count, options);
    double exceptions = 0;
    for (uint64_t i = 0; i < count; i++) exceptions += indices[i] < -127 || indices[i] > 126;
    return index_contexts(h, indices, true).bits / 8 + exceptions * 4 + 60 + 270.0 * double(h.chunk_count());
}

}  // namespace laconic
