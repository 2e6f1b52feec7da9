// One chunk: the classes of the base's values, the symbols of each class one after the other, and values out of both.
#include <type_traits>

#include "delta/delta.hpp"
#include "delta/rules.hpp"

namespace taut {
namespace {

// Raw bits, which may end anywhere: a load near the end takes what there is.
class RawBits {
public:
    RawBits(const uint8_t* data, size_t size) : data_(data), bits_(uint64_t(size) * 8) {}
    uint64_t get(int bits) {  // at most 63
        const uint64_t byte = at_ >> 3;
        const int skip = int(at_ & 7);
        at_ += uint64_t(bits);
        uint64_t window;
        if ((byte + 9) * 8 <= bits_) {
            window = load64(data_ + byte) >> skip;
            if (skip + bits > 64) window |= uint64_t(data_[byte + 8]) << (64 - skip);
        } else {
            window = near_end(byte, skip);
        }
        return window & ((uint64_t(1) << bits) - 1);
    }
    // Whether so many are left, and eight bytes beyond them.
    bool holds(uint64_t bits) const { return at_ + bits + 64 <= bits_; }
    const uint8_t* data() const { return data_; }
    uint64_t place() const { return at_; }
    void go_to(uint64_t at) { at_ = at; }
    // At most 56, which one load holds.
    uint64_t few(int bits) {
        const uint64_t byte = at_ >> 3;
        if ((byte + 8) * 8 > bits_) return get(bits);
        const uint64_t window = load64(data_ + byte) >> (at_ & 7);
        at_ += uint64_t(bits);
        return window & ((uint64_t(1) << bits) - 1);
    }
    bool all_read() const { return at_ <= bits_ && bits_ - at_ < 8; }

private:
    const uint8_t* data_;
    uint64_t bits_, at_ = 0;

    uint64_t near_end(uint64_t byte, int skip) const {
        uint64_t window = 0;
        for (uint64_t i = 0; i < 9 && (byte + i) * 8 < bits_; i++) {
            const uint64_t value = data_[byte + i];
            const int64_t place = int64_t(8 * i) - skip;
            if (place < 64) window |= place >= 0 ? value << place : value >> -place;
        }
        return window;
    }
};

// The rows of one chunk.
struct DeltaRows {
    uint64_t first_row, rows, values;
    DeltaRows(const ArrayHeader& h, uint64_t chunk)
        : first_row(chunk * h.chunk_rows),
          rows(std::min(h.chunk_rows, h.row_count() - first_row)),
          values(std::min(rows * h.row_length, h.count - first_row * h.row_length)) {}
    size_t length(const ArrayHeader& h, uint64_t r) const {
        return size_t(std::min(h.row_length, values - r * h.row_length));
    }
};

// The class of each value of a row; kDeltaClasses of one that is the base's. `plain`: all columns have the byte 1.
template <class T>
void classify_row(const ArrayHeader& h, const Classes<T>& classes, const uint8_t* base, int row, size_t n, bool plain,
                  uint8_t* out) {
    if (!plain) {
        for (size_t j = 0; j < n; j++) {
            T u;
            std::memcpy(&u, base + j * sizeof(T), sizeof u);
            const uint8_t column = h.delta.columns[j];
            out[j] = column == kUntouched ? uint8_t(kDeltaClasses) : classes.of(u, row + column);
        }
        return;
    }
    // Wide enough for all keys but a float64's, and narrow enough to go many at a time.
    using Wide = std::conditional_t<sizeof(T) < 8, int32_t, int64_t>;
    const Wide offset = Wide(classes.origin + row + 1 - 2);
    constexpr Wide top = kDeltaClasses - 1;
    const bool floats = h.mode == Mode::float_;
    const int shift = floats ? classes.shift : 0;
    const T mask = floats ? T(~Ordered<T>::kTop) : T(0);
    for (size_t j = 0; j < n; j++) {
        T u;
        std::memcpy(&u, base + j * sizeof(T), sizeof u);
        const Wide c = Wide(offset - Wide(T(u & mask) >> shift));
        out[j] = uint8_t(c < 0 ? 0 : c > top ? top : c);
    }
}

Status delta_symbols(const Kernels& kernels, ByteReader& in, uint64_t count, Vec<uint8_t>& symbols, Memory& memory) {
    const uint64_t size = in.varint();
    const uint8_t* data = in.take(size);
    TAUT_TRY(in.status());
    ArrayHeader inner(memory);
    ByteReader header(data, size_t(size));
    TAUT_TRY(read_geometry(header, inner));
    const bool known = inner.kind == Kind::stored || inner.kind == Kind::split || inner.kind == Kind::constant;
    TAUT_REQUIRE(known && inner.width == 1 && inner.count == count, "delta: its symbols are no array of their number");
    TAUT_TRY(read_split_fields(header, inner));
    TAUT_HAVE(symbols.try_resize_raw(count));
    if (inner.kind == Kind::constant) return std::memset(symbols.data(), int(inner.value & 255), size_t(count)), Status();
    SplitDecoder decoder(memory);
    TAUT_TRY(decoder.open(inner, kernels));
    Vec<uint8_t> scratch(memory);
    for (uint64_t c = 0; c < inner.chunk_count(); c++) {
        const uint64_t bytes = in.varint();
        const uint8_t* part = in.take(bytes);
        TAUT_TRY(in.status());
        uint8_t* to = symbols.data() + c * inner.chunk_rows * inner.row_length;
        TAUT_TRY(decoder.decode_chunk(inner, kernels, c, {part, size_t(bytes)}, to, scratch));
    }
    return {};
}

// What the symbols do to values: how many raw bits, the magnitude without them, and the sign.
template <class T>
class Apply {
public:
    Apply(const ArrayHeader& h, RawBits& raw)
        : mode_(h.mode), exclusive_(h.delta.exclusive), simple_(h.delta.exclusive ? 4 : 5), raw_(raw) {
        using M = Magnitudes<T>;
        for (int s = 0; s < 256; s++) {
            const int m = exclusive_ ? s : s >> 1;
            const bool valid = m < M::kSymbols;
            bits_[s] = valid ? uint8_t(M::raw_bits(m)) : uint8_t(0);
            upper_[s] = valid ? T(M::upper(m)) : T(0);
        }
        // The word flipped as its order has it: all bits where it is negative, or its first.
        signs_ = mode_ == Mode::float_ ? T(~T(0)) : T(0);
        flip_ = mode_ == Mode::unsigned_ ? T(0) : kTop;
        negative_ = mode_ == Mode::unsigned_ ? T(0) : T(1);
    }
    // Values that follow one another.
    void run(const uint8_t* base, const uint8_t* symbols, size_t n, uint8_t* out) {
        constexpr size_t step = 32;
        size_t j = 0;
        for (; j + step <= n; j += step) {
            const uint8_t* const s = symbols + j;
            const uint64_t any = load64(s) | load64(s + 8) | load64(s + 16) | load64(s + 24);
            if (!any) {
                std::memmove(out + j * sizeof(T), base + j * sizeof(T), step * sizeof(T));
            } else if (sizeof(T) < 8 && !(any & 0x0101010101010101 * uint64_t(0xff << simple_ & 0xff))) {
                small_ones(base + j * sizeof(T), s, step, out + j * sizeof(T));
            } else if (sizeof(T) < 8 && raw_.holds(step * 32)) {
                exclusive_ ? large_ones<true>(base + j * sizeof(T), s, step, out + j * sizeof(T))
                           : large_ones<false>(base + j * sizeof(T), s, step, out + j * sizeof(T));
            } else {
                for (size_t k = j; k < j + step; k++) one(base, k, symbols[k], out);
            }
        }
        for (; j < n; j++) one(base, j, symbols[j], out);
    }
    void one(const uint8_t* base, size_t j, uint8_t s, uint8_t* out) {
        T u;
        std::memcpy(&u, base + j * sizeof(T), sizeof u);
        u = changed(u, T(upper_[s] + T(sizeof(T) < 8 ? raw_.few(bits_[s]) : raw_.get(bits_[s]))), s);
        std::memcpy(out + j * sizeof(T), &u, sizeof u);
    }

private:
    static constexpr T kTop = Ordered<T>::kTop;
    Mode mode_;
    bool exclusive_;
    int simple_;  // symbols below 2^this have no raw bits, and are the number or its double
    T signs_, flip_, negative_;
    RawBits& raw_;
    uint8_t bits_[256];
    T upper_[256];

    // Without a branch: signs are a coin toss.
    T changed(T u, T m, uint8_t s) const {
        return exclusive_ ? T(u ^ m) : moved(u, m, s, signs_, flip_, negative_);
    }
    static T moved(T u, T m, uint8_t s, T signs, T flip, T negative) {
        const T first = T(u >> (8 * sizeof(T) - 1));
        const T down = T(T(0) - T((s & 1) ^ (first & negative)));
        const T o = T(u ^ T(T(T(T(0) - first) & signs) | flip));
        const T there = T(o + T(T(m ^ down) - down));
        const T below = T(T(there >> (8 * sizeof(T) - 1)) - T(1));  // all ones where the first bit is clear
        return T(there ^ T(T(below & signs) | flip));
    }
    // With copies of what is known: the compiler cannot tell that no value is written over it.
    template <bool exclusive>
    void large_ones(const uint8_t* base, const uint8_t* symbols, size_t n, uint8_t* out) {
        const T signs = signs_, flip = flip_, negative = negative_;
        const uint8_t* const data = raw_.data();
        uint64_t at = raw_.place();
        for (size_t k = 0; k < n; k++) {
            T u;
            std::memcpy(&u, base + k * sizeof(T), sizeof u);
            const uint8_t s = symbols[k];
            const uint64_t window = load64(data + (at >> 3)) >> (at & 7);
            const int bits = bits_[s];
            const T m = T(upper_[s] + T(window & ((uint64_t(1) << bits) - 1)));
            at += uint64_t(bits);
            if constexpr (exclusive)
                u = T(u ^ m);
            else
                u = moved(u, m, s, signs, flip, negative);
            std::memcpy(out + k * sizeof(T), &u, sizeof u);
        }
        raw_.go_to(at);
    }
    void small_ones(const uint8_t* base, const uint8_t* symbols, size_t n, uint8_t* out) const {
        const T signs = signs_, flip = flip_, negative = negative_;
        T words[32];
        std::memcpy(words, base, n * sizeof(T));
        if (exclusive_)
            for (size_t k = 0; k < n; k++) words[k] = T(words[k] ^ T(symbols[k]));
        else
            for (size_t k = 0; k < n; k++)
                words[k] = moved(words[k], T(symbols[k] >> 1), symbols[k], signs, flip, negative);
        std::memcpy(out, words, n * sizeof(T));
    }
};

// Puts the symbols, which lie by class, in the order of the values. Four parts go on side by side, since each symbol
// waits for the one before it of its class.
constexpr size_t kParts = 4;

void count_classes(const Vec<uint8_t>& of, size_t begin, size_t end, size_t (&count)[kDeltaClasses + 1]) {
    uint32_t parts[4][kDeltaClasses + 1] = {};  // of equal neighbours in one, each would wait for the one before
    for (size_t i = begin; i < end; i++) parts[i & 3][of[i]]++;
    for (auto& one : parts)
        for (int c = 0; c <= kDeltaClasses; c++) count[c] += one[c];
}

void in_order(const Vec<uint8_t>& of, size_t (&at)[kParts][kDeltaClasses + 1], size_t part, const uint8_t* symbols,
              uint8_t* out) {
    const size_t n = of.size();
    const auto next = [&](size_t p, size_t i) {
        const uint8_t c = of[i];
        out[i] = c == kDeltaClasses ? uint8_t(0) : symbols[at[p][c]++];
    };
    const size_t last = n > part * (kParts - 1) ? n - part * (kParts - 1) : 0;
    for (size_t i = 0; i < last; i++)
        for (size_t p = 0; p < kParts; p++) next(p, p * part + i);
    for (size_t p = 0; p < kParts; p++)
        for (size_t i = p * part + last; i < std::min(n, (p + 1) * part); i++) next(p, i);
}

// Where values differ: how many are the base's before each that does not, then what that one differs by.
template <class T>
Status decode_delta_places(const ArrayHeader& h, const Kernels& kernels, const DeltaRows& span, ConstBytes bytes, const uint8_t* base,
                     uint8_t* out, Memory& memory) {
    std::memmove(out, base, size_t(span.values) * sizeof(T));
    ByteReader in(bytes.data, bytes.size);
    const uint64_t count = in.varint();
    TAUT_TRY(in.status());
    TAUT_REQUIRE(count && count <= span.values, "delta: differs in no value, or in too many");
    Vec<uint8_t> gaps(memory), symbols(memory);
    TAUT_TRY(delta_symbols(kernels, in, count, gaps, memory));
    TAUT_TRY(delta_symbols(kernels, in, count, symbols, memory));
    const size_t left = in.left();
    RawBits raw(in.take(left), left);
    Apply<T> apply(h, raw);
    uint64_t next = 0;
    for (size_t i = 0; i < count; i++) {
        const int s = gaps[i];
        TAUT_REQUIRE(s < Gaps::kSymbols, "delta: a gap that is too long");
        uint64_t gap = Gaps::upper(s);
        if (const int bits = Gaps::raw_bits(s)) gap += raw.few(bits);
        TAUT_REQUIRE(gap < span.values - next, "delta: differs beyond the chunk");
        next += gap;
        apply.one(out, size_t(next), symbols[i], out);
        next++;
    }
    TAUT_REQUIRE(raw.all_read(), "delta: raw bits end early, or are left over");
    return {};
}

template <class T>
Status decode_delta_words(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes, const uint8_t* base,
                    uint8_t* out, Memory& memory) {
    const DeltaRows span(h, chunk);
    if (h.delta.sparse && bytes.size) return decode_delta_places<T>(h, kernels, span, bytes, base, out, memory);
    if (!bytes.size) return std::memmove(out, base, size_t(span.values) * sizeof(T)), Status();
    const Classes<T> classes(h);
    const size_t stride = size_t(h.row_length) * sizeof(T);
    Vec<uint8_t> of(memory), symbols(memory);
    TAUT_HAVE(of.try_resize_raw(span.values));
    bool plain = true;
    for (uint8_t column : h.delta.columns) plain = plain && column == 1;
    for (uint64_t r = 0; r < span.rows; r++) {
        const size_t n = span.length(h, r);
        const uint8_t row = h.delta.rows[size_t(span.first_row + r)];
        uint8_t* const at = of.data() + r * h.row_length;
        if (row == kUntouched)
            std::memset(at, kDeltaClasses, n);
        else
            classify_row<T>(h, classes, base + r * stride, row, n, plain, at);
    }
    const size_t part = (of.size() + kParts - 1) / kParts;
    size_t at[kParts][kDeltaClasses + 1] = {};
    for (size_t p = 0; p < kParts; p++) count_classes(of, p * part, std::min(of.size(), (p + 1) * part), at[p]);
    size_t touched = 0;
    bool alone = false;  // one class, which is in order as it is
    for (int c = 0; c < kDeltaClasses; c++) {
        const size_t before = touched;
        for (size_t p = 0; p < kParts; p++) {
            const size_t n = at[p][c];
            at[p][c] = touched;
            touched += n;
        }
        alone |= touched - before == span.values;
    }
    TAUT_REQUIRE(touched, "delta: bytes in a chunk that differs nowhere");
    ByteReader in(bytes.data, bytes.size);
    TAUT_TRY(delta_symbols(kernels, in, touched, symbols, memory));
    const size_t left = in.left();
    RawBits raw(in.take(left), left);
    Apply<T> apply(h, raw);
    Vec<uint8_t> ordered(memory);
    if (!alone) {
        TAUT_HAVE(ordered.try_resize_raw(span.values));
        in_order(of, at, part, symbols.data(), ordered.data());
    }
    apply.run(base, alone ? symbols.data() : ordered.data(), size_t(span.values), out);
    TAUT_REQUIRE(raw.all_read(), "delta: raw bits end early, or are left over");
    return {};
}

}  // namespace

Status decode_delta_chunk(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes,
                          const uint8_t* base, uint8_t* out, Memory& memory) {
    TAUT_REQUIRE(base, "is a delta: its base is needed");
    switch (h.width) {
        case 1: return decode_delta_words<uint8_t>(h, kernels, chunk, bytes, base, out, memory);
        case 2: return decode_delta_words<uint16_t>(h, kernels, chunk, bytes, base, out, memory);
        case 4: return decode_delta_words<uint32_t>(h, kernels, chunk, bytes, base, out, memory);
        default: return decode_delta_words<uint64_t>(h, kernels, chunk, bytes, base, out, memory);
    }
}

}  // namespace taut
