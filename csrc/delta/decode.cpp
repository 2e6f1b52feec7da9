// One chunk: the classes of the base's values, the symbols of each class one after the other, and values out of both.
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
    bool ended() const { return at_ > bits_; }
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
struct Span {
    uint64_t first_row, rows, values;
    Span(const ArrayHeader& h, uint64_t chunk)
        : first_row(chunk * h.chunk_rows),
          rows(std::min(h.chunk_rows, h.row_count() - first_row)),
          values(std::min(rows * h.row_length, h.count - first_row * h.row_length)) {}
    size_t length(const ArrayHeader& h, uint64_t r) const {
        return size_t(std::min(h.row_length, values - r * h.row_length));
    }
};

// The class of each value of a row; kDeltaClasses of one that is the base's.
template <class T>
void classify(const ArrayHeader& h, const Classes<T>& classes, const uint8_t* base, int row, size_t n, uint8_t* out) {
    for (size_t j = 0; j < n; j++) {
        T u;
        std::memcpy(&u, base + j * sizeof(T), sizeof u);
        const uint8_t column = h.delta.columns[j];
        out[j] = column == kUntouched ? uint8_t(kDeltaClasses) : classes.of(u, row + column);
    }
}

Status decode_symbols(const Kernels& kernels, ByteReader& in, uint64_t count, Vec<uint8_t>& symbols, Memory& memory) {
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
    Apply(const ArrayHeader& h, RawBits& raw) : words_{h.mode}, exclusive_(h.delta.exclusive), raw_(raw) {
        using M = Magnitudes<T>;
        for (int s = 0; s < 256; s++) {
            const int m = exclusive_ ? s : s >> 1;
            const bool valid = m < M::kSymbols;
            bits_[s] = valid ? uint8_t(M::raw_bits(m)) : uint8_t(0);
            upper_[s] = valid ? T(M::upper(m)) : T(0);
        }
    }
    T operator()(T u, uint8_t s) {
        if (!s) return u;
        T m = upper_[s];
        if (const int bits = bits_[s]) m = T(m + T(raw_.get(bits)));
        if (exclusive_) return T(u ^ m);
        const bool down = bool(s & 1) != words_.negative(u);
        const T o = words_.order(u);
        return words_.word(T(down ? o - m : o + m));
    }
    // Values that follow one another; most of them may be as they were.
    void run(const uint8_t* base, const uint8_t* symbols, size_t n, uint8_t* out) {
        size_t j = 0;
        for (; j + 8 <= n; j += 8) {
            if (load64(symbols + j) == 0) {
                std::memmove(out + j * sizeof(T), base + j * sizeof(T), 8 * sizeof(T));
                continue;
            }
            for (size_t k = j; k < j + 8; k++) one(base, k, symbols[k], out);
        }
        for (; j < n; j++) one(base, j, symbols[j], out);
    }
    void one(const uint8_t* base, size_t j, uint8_t s, uint8_t* out) {
        T u;
        std::memcpy(&u, base + j * sizeof(T), sizeof u);
        u = (*this)(u, s);
        std::memcpy(out + j * sizeof(T), &u, sizeof u);
    }

private:
    Ordered<T> words_;
    bool exclusive_;
    RawBits& raw_;
    uint8_t bits_[256];
    T upper_[256];
};

// Where values differ: how many are the base's before each that does not, then what that one differs by.
template <class T>
Status decode_sparse(const ArrayHeader& h, const Kernels& kernels, const Span& span, ConstBytes bytes, const uint8_t* base,
                     uint8_t* out, Memory& memory) {
    std::memmove(out, base, size_t(span.values) * sizeof(T));
    ByteReader in(bytes.data, bytes.size);
    const uint64_t count = in.varint();
    TAUT_TRY(in.status());
    TAUT_REQUIRE(count && count <= span.values, "delta: differs in no value, or in too many");
    Vec<uint8_t> gaps(memory), symbols(memory);
    TAUT_TRY(decode_symbols(kernels, in, count, gaps, memory));
    TAUT_TRY(decode_symbols(kernels, in, count, symbols, memory));
    const size_t left = in.left();
    RawBits raw(in.take(left), left);
    Apply<T> apply(h, raw);
    uint64_t next = 0;
    for (size_t i = 0; i < count; i++) {
        const int s = gaps[i];
        TAUT_REQUIRE(s < Gaps::kSymbols, "delta: a gap that is too long");
        uint64_t gap = Gaps::upper(s);
        if (const int bits = Gaps::raw_bits(s)) gap += raw.get(bits);
        TAUT_REQUIRE(gap < span.values - next, "delta: differs beyond the chunk");
        next += gap;
        apply.one(out, size_t(next), symbols[i], out);
        next++;
    }
    TAUT_REQUIRE(raw.all_read(), "delta: raw bits end early, or are left over");
    return {};
}

template <class T>
Status decode_words(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes, const uint8_t* base,
                    uint8_t* out, Memory& memory) {
    const Span span(h, chunk);
    if (h.delta.sparse && bytes.size) return decode_sparse<T>(h, kernels, span, bytes, base, out, memory);
    if (!bytes.size) return std::memmove(out, base, size_t(span.values) * sizeof(T)), Status();
    const Classes<T> classes(h);
    const size_t stride = size_t(h.row_length) * sizeof(T);
    Vec<uint8_t> of(memory), symbols(memory);
    TAUT_HAVE(of.try_resize_raw(span.values));
    size_t count[kDeltaClasses + 1] = {};
    for (uint64_t r = 0; r < span.rows; r++) {
        const size_t n = span.length(h, r);
        const uint8_t row = h.delta.rows[size_t(span.first_row + r)];
        uint8_t* const at = of.data() + r * h.row_length;
        if (row == kUntouched) {
            std::memset(at, kDeltaClasses, n);
            count[kDeltaClasses] += n;
            continue;
        }
        classify<T>(h, classes, base + r * stride, row, n, at);
        for (size_t j = 0; j < n; j++) count[at[j]]++;
    }
    const uint64_t touched = span.values - count[kDeltaClasses];
    TAUT_REQUIRE(touched, "delta: bytes in a chunk that differs nowhere");
    ByteReader in(bytes.data, bytes.size);
    TAUT_TRY(decode_symbols(kernels, in, touched, symbols, memory));
    const size_t left = in.left();
    RawBits raw(in.take(left), left);
    Apply<T> apply(h, raw);
    size_t at[kDeltaClasses + 1] = {};
    bool alone = false;
    for (int c = 0, next = 0; c < kDeltaClasses; next += int(count[c]), c++) {
        at[c] = size_t(next);
        alone |= count[c] == span.values;
    }
    if (alone) {
        apply.run(base, symbols.data(), size_t(span.values), out);
    } else {
        for (size_t i = 0; i < span.values; i++) {
            const uint8_t c = of[i];
            apply.one(base, i, c == kDeltaClasses ? uint8_t(0) : symbols[at[c]++], out);
        }
    }
    TAUT_REQUIRE(raw.all_read(), "delta: raw bits end early, or are left over");
    return {};
}

}  // namespace

Status decode_delta_chunk(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes,
                          const uint8_t* base, uint8_t* out, Memory& memory) {
    TAUT_REQUIRE(base, "is a delta: its base is needed");
    switch (h.width) {
        case 1: return decode_words<uint8_t>(h, kernels, chunk, bytes, base, out, memory);
        case 2: return decode_words<uint16_t>(h, kernels, chunk, bytes, base, out, memory);
        case 4: return decode_words<uint32_t>(h, kernels, chunk, bytes, base, out, memory);
        default: return decode_words<uint64_t>(h, kernels, chunk, bytes, base, out, memory);
    }
}

}  // namespace taut
