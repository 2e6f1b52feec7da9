// One chunk: the classes of the base's values, the symbols of each class one after the other, and values out of both.
#include <type_traits>

#include "delta/apply.hpp"
#include "delta/delta.hpp"

namespace taut {
namespace {

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
    // Wide enough for all keys but a float64's, and narrow enough to go many at a time.
    using Wide = std::conditional_t<sizeof(T) < 8, int32_t, int64_t>;
    const Wide offset = Wide(classes.origin + row + (plain ? 1 : 0) - 2);
    constexpr Wide top = kDeltaClasses - 1;
    const bool floats = h.mode == Mode::float_;
    const int shift = floats ? classes.shift : 0;
    const T mask = floats ? T(~Ordered<T>::kTop) : T(0);
    if (plain) {
        for (size_t j = 0; j < n; j++) {
            T u;
            std::memcpy(&u, base + j * sizeof(T), sizeof u);
            const Wide c = Wide(offset - Wide(T(u & mask) >> shift));
            out[j] = uint8_t(c < 0 ? 0 : c > top ? top : c);
        }
        return;
    }
    const uint8_t* const columns = h.delta.columns.data();
    for (size_t j = 0; j < n; j++) {
        T u;
        std::memcpy(&u, base + j * sizeof(T), sizeof u);
        const Wide column = Wide(columns[j]), c = Wide(offset + column - Wide(T(u & mask) >> shift));
        const Wide within = c < 0 ? Wide(0) : c > top ? top : c;
        out[j] = uint8_t(column == kUntouched ? Wide(kDeltaClasses) : within);
    }
}

constexpr size_t kSpare = 64;  // bytes behind the last symbol, which wide loads reach

// `symbols` has spare bytes behind the last.
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
    TAUT_HAVE(symbols.try_resize_raw(count + kSpare));
    std::memset(symbols.data() + count, 0, kSpare);
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

// Puts the symbols, which lie by class, in the order of the values. Four parts go on side by side, since each symbol
// waits for the one before it of its class.
constexpr size_t kParts = 4;

void count_classes(const Vec<uint8_t>& of, size_t begin, size_t end, uint64_t (&count)[kDeltaClasses + 1]) {
    uint32_t parts[4][kDeltaClasses + 1] = {};  // of equal neighbours in one, each would wait for the one before
    for (size_t i = begin; i < end; i++) parts[i & 3][of[i]]++;
    for (auto& one : parts)
        for (int c = 0; c <= kDeltaClasses; c++) count[c] += one[c];
}

void in_order(const Vec<uint8_t>& of, uint64_t (&at)[kParts][kDeltaClasses + 1], size_t part, const uint8_t* symbols,
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

// The symbols of a chunk in the order of its values, of which `of` has the classes.
Status symbols_in_order(const Kernels& kernels, ByteReader& in, const Vec<uint8_t>& of, Vec<uint8_t>& symbols,
                        Memory& memory) {
    const size_t part = (of.size() + kParts - 1) / kParts;
    const bool wide = kernels.delta_count && kernels.delta_order;  // in one part
    uint64_t at[kParts][kDeltaClasses + 1] = {};
    if (wide) kernels.delta_count(of.data(), of.size(), uint8_t(kDeltaClasses), at[0]);
    for (size_t p = 0; p < kParts && !wide; p++)
        count_classes(of, p * part, std::min(of.size(), (p + 1) * part), at[p]);
    size_t touched = 0;
    bool alone = false;  // one class, which is in order as it is
    uint8_t classes[kDeltaClasses];
    size_t kinds = 0;
    for (int c = 0; c < kDeltaClasses; c++) {
        const size_t before = touched;
        for (size_t p = 0; p < kParts; p++) {
            const size_t n = at[p][c];
            at[p][c] = touched;
            touched += n;
        }
        alone |= touched - before == of.size();
        if (touched > before) classes[kinds++] = uint8_t(c);
    }
    TAUT_REQUIRE(touched, "delta: bytes in a chunk that differs nowhere");
    TAUT_TRY(delta_symbols(kernels, in, touched, symbols, memory));
    if (alone) return {};
    Vec<uint8_t> ordered(memory);
    TAUT_HAVE(ordered.try_resize_raw(of.size()));
    if (wide)
        kernels.delta_order(of.data(), of.size(), classes, kinds, symbols.data(), at[0], ordered.data());
    else
        in_order(of, at, part, symbols.data(), ordered.data());
    symbols = std::move(ordered);
    return {};
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
    ByteReader in(bytes.data, bytes.size);
    TAUT_TRY(symbols_in_order(kernels, in, of, symbols, memory));
    const size_t left = in.left();
    RawBits raw(in.take(left), left);
    Apply<T> apply(h, raw);
    apply.run(kernels, base, symbols.data(), size_t(span.values), out);
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
