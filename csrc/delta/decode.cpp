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

// The class of each value of a row; kDeltaClasses of one that is the base's. Without `columns` all of them have the byte 1.
template <class T>
void classify_row(const ArrayHeader& h, const Kernels& kernels, const uint8_t* base, int row, size_t n,
                  const uint8_t* columns, uint8_t* out) {
    // Wide enough for all keys but a float64's, and narrow enough to go many at a time.
    using Wide = std::conditional_t<sizeof(T) < 8, int32_t, int64_t>;
    const Wide offset = Wide(h.delta.origin + row + (columns ? 0 : 1) - 2);
    constexpr Wide top = kDeltaClasses - 1;
    const bool floats = h.mode == Mode::float_;
    const int shift = floats ? h.delta.shift : 0;
    const T mask = floats ? T(~Ordered<T>::kTop) : T(0);
    size_t j = 0;
    if (kernels.delta_classes && sizeof(T) < 8) {
        const DeltaClasses rule{int(sizeof(T)), shift, uint32_t(mask), int32_t(offset), uint8_t(kDeltaClasses)};
        j = kernels.delta_classes(rule, base, columns, n, out);
    }
    const auto within = [&](size_t i, Wide column) {
        T u;
        std::memcpy(&u, base + i * sizeof(T), sizeof u);
        const T key = T(u & mask) >> shift;
        const Wide c = Wide(offset + column - (sizeof(T) < 4 || key < T(kLargestKey) ? Wide(key) : Wide(kLargestKey)));
        return uint8_t(c < 0 ? 0 : c > top ? top : c);
    };
    if (!columns) {
        for (; j < n; j++) out[j] = within(j, 0);
        return;
    }
    for (; j < n; j++) {
        const uint8_t c = within(j, Wide(columns[j]));
        out[j] = columns[j] == kUntouched ? uint8_t(kDeltaClasses) : c;
    }
}

constexpr size_t kSpare = 64;  // bytes behind the last symbol, which wide loads reach

// What a chunk takes, in memory that the caller keeps for the next one: what the decoder of symbols takes for itself, then
// `each` bytes and the spare ones for each of two.
struct DeltaScratch {
    Vec<uint8_t>& all;
    uint64_t each = 0;
    bool open(uint64_t count) {
        each = count + kSpare;
        if (all.size() >= 3 * each) return true;
        all.clear();  // nothing of it is worth a copy
        return all.try_resize_raw(3 * each);
    }
    uint8_t* first() { return all.data() + each; }
    uint8_t* second() { return all.data() + 2 * each; }
};

// `symbols` are in `scratch`, and have spare bytes behind the last.
Status delta_symbols(const Kernels& kernels, ByteReader& in, uint64_t count, uint8_t* symbols, DeltaScratch& scratch,
                     Memory& memory) {
    const uint64_t size = in.varint();
    const uint8_t* data = in.take(size);
    TAUT_TRY(in.status());
    ArrayHeader inner(memory);
    ByteReader header(data, size_t(size));
    TAUT_TRY(read_geometry(header, inner));
    const bool known = inner.kind == Kind::stored || inner.kind == Kind::split || inner.kind == Kind::constant;
    TAUT_REQUIRE(known && inner.width == 1 && inner.count == count, "delta: its symbols are no array of their number");
    TAUT_TRY(read_split_fields(header, inner));
    std::memset(symbols + count, 0, kSpare);
    if (inner.kind == Kind::constant) return std::memset(symbols, int(inner.value & 255), size_t(count)), Status();
    SplitDecoder decoder(memory);
    TAUT_TRY(decoder.open(inner, kernels));
    for (uint64_t c = 0; c < inner.chunk_count(); c++) {
        const uint64_t bytes = in.varint();
        const uint8_t* part = in.take(bytes);
        TAUT_TRY(in.status());
        uint8_t* to = symbols + c * inner.chunk_rows * inner.row_length;
        TAUT_TRY(decoder.decode_chunk(inner, kernels, c, {part, size_t(bytes)}, to, scratch.all));
    }
    return {};
}

// Puts the symbols, which lie by class, in the order of the values. Four parts go on side by side, since each symbol
// waits for the one before it of its class.
constexpr size_t kParts = 4;
constexpr size_t kOften = 640;  // a class of one value in so many is looked for by itself

void count_classes(const Kernels& kernels, const uint8_t* of, size_t n, uint64_t (&count)[kDeltaClasses + 1]) {
    if (kernels.delta_count) return kernels.delta_count(of, n, uint8_t(kDeltaClasses), count);
    uint32_t parts[4][kDeltaClasses + 1] = {};  // of equal neighbours in one, each would wait for the one before
    for (size_t i = 0; i < n; i++) parts[i & 3][of[i]]++;
    for (auto& one : parts)
        for (int c = 0; c < kDeltaClasses; c++) count[c] += one[c];
}

// Of each value the symbol in place of its class.
void in_order(uint8_t* of, size_t n, uint64_t (&at)[kParts][kDeltaClasses + 1], size_t part, const uint8_t* symbols) {
    const auto next = [&](size_t p, size_t i) {
        const uint8_t c = of[i];
        of[i] = c == kDeltaClasses ? uint8_t(0) : symbols[at[p][c]++];
    };
    const size_t last = n > part * (kParts - 1) ? n - part * (kParts - 1) : 0;
    for (size_t i = 0; i < last; i++)
        for (size_t p = 0; p < kParts; p++) next(p, p * part + i);
    for (size_t p = 0; p < kParts; p++)
        for (size_t i = p * part + last; i < std::min(n, (p + 1) * part); i++) next(p, i);
}

// The symbols of a chunk in the order of its n values, of which the first of the scratch has the classes.
Status symbols_in_order(const Kernels& kernels, ByteReader& in, size_t n, DeltaScratch& scratch, const uint8_t*& ordered,
                        Memory& memory) {
    const size_t part = (n + kParts - 1) / kParts;
    uint8_t* const of = scratch.first();
    uint8_t* const symbols = scratch.second();
    uint64_t at[kParts][kDeltaClasses + 1] = {};
    const size_t parts = kernels.delta_order ? 1 : kParts;
    for (size_t p = 0; p < parts; p++) {
        const size_t begin = std::min(n, p * part), end = parts == 1 ? n : std::min(n, begin + part);
        count_classes(kernels, of + begin, end - begin, at[p]);
    }
    size_t touched = 0;
    bool alone = false;  // one class, which is in order as it is
    DeltaOrder order{symbols, {}, 0, uint8_t(kDeltaClasses)};
    for (int c = 0; c < kDeltaClasses; c++) {
        const size_t before = touched;
        for (size_t p = 0; p < kParts; p++) {
            const size_t count = at[p][c];
            at[p][c] = touched;
            touched += count;
        }
        alone |= touched - before == n;
        if ((touched - before) * kOften >= n) order.classes[order.often++] = uint8_t(c);
    }
    TAUT_REQUIRE(touched, "delta: bytes in a chunk that differs nowhere");
    TAUT_TRY(delta_symbols(kernels, in, touched, symbols, scratch, memory));
    ordered = alone ? symbols : of;
    if (alone) return {};
    std::memset(of + n, 0, kSpare);
    if (parts == 1)
        kernels.delta_order(of, n, order, at[0], of);
    else
        in_order(of, n, at, part, symbols);
    return {};
}

// Where values differ: how many are the base's before each that does not, then what that one differs by.
template <class T>
Status decode_delta_places(const ArrayHeader& h, const Kernels& kernels, const DeltaRows& span, ConstBytes bytes, const uint8_t* base,
                     uint8_t* out, Vec<uint8_t>& kept, Memory& memory) {
    std::memmove(out, base, size_t(span.values) * sizeof(T));
    ByteReader in(bytes.data, bytes.size);
    const uint64_t count = in.varint();
    TAUT_TRY(in.status());
    TAUT_REQUIRE(count && count <= span.values, "delta: differs in no value, or in too many");
    DeltaScratch scratch{kept};
    TAUT_HAVE(scratch.open(count));
    uint8_t *const gaps = scratch.first(), *const symbols = scratch.second();
    TAUT_TRY(delta_symbols(kernels, in, count, gaps, scratch, memory));
    TAUT_TRY(delta_symbols(kernels, in, count, symbols, scratch, memory));
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
                    uint8_t* out, Vec<uint8_t>& kept, Memory& memory) {
    const DeltaRows span(h, chunk);
    if (h.delta.sparse && bytes.size) return decode_delta_places<T>(h, kernels, span, bytes, base, out, kept, memory);
    if (!bytes.size) return std::memmove(out, base, size_t(span.values) * sizeof(T)), Status();
    const size_t stride = size_t(h.row_length) * sizeof(T);
    DeltaScratch scratch{kept};
    TAUT_HAVE(scratch.open(span.values));
    const uint8_t* columns = nullptr;
    for (uint8_t column : h.delta.columns)
        if (column != 1) columns = h.delta.columns.data();
    for (uint64_t r = 0; r < span.rows; r++) {
        const size_t n = span.length(h, r);
        const uint8_t row = h.delta.rows[size_t(span.first_row + r)];
        uint8_t* const at = scratch.first() + r * h.row_length;
        if (row == kUntouched)
            std::memset(at, kDeltaClasses, n);
        else
            classify_row<T>(h, kernels, base + r * stride, row, n, columns, at);
    }
    ByteReader in(bytes.data, bytes.size);
    const uint8_t* symbols = nullptr;
    TAUT_TRY(symbols_in_order(kernels, in, size_t(span.values), scratch, symbols, memory));
    const size_t left = in.left();
    RawBits raw(in.take(left), left);
    Apply<T> apply(h, raw);
    apply.run(kernels, base, symbols, size_t(span.values), out);
    TAUT_REQUIRE(raw.all_read(), "delta: raw bits end early, or are left over");
    return {};
}

}  // namespace

Status decode_delta_chunk(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes,
                          const uint8_t* base, uint8_t* out, Vec<uint8_t>& kept, Memory& memory) {
    TAUT_REQUIRE(base, "is a delta: its base is needed");
    switch (h.width) {
        case 1: return decode_delta_words<uint8_t>(h, kernels, chunk, bytes, base, out, kept, memory);
        case 2: return decode_delta_words<uint16_t>(h, kernels, chunk, bytes, base, out, kept, memory);
        case 4: return decode_delta_words<uint32_t>(h, kernels, chunk, bytes, base, out, kept, memory);
        default: return decode_delta_words<uint64_t>(h, kernels, chunk, bytes, base, out, kept, memory);
    }
}

}  // namespace taut
