// The header of a matrix from bytes: its scales, its rows' and columns' classes, and their byte streams.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "matrix/basis.hpp"
#include "matrix/layout.hpp"

namespace taut {
namespace {

// 2^(j/16), rounded to float32.
constexpr uint32_t kSixteenths[16] = {0x3f800000, 0x3f85aac3, 0x3f8b95c2, 0x3f91c3d3, 0x3f9837f0, 0x3f9ef532,
                                      0x3fa5fed7, 0x3fad583f, 0x3fb504f3, 0x3fbd08a4, 0x3fc5672a, 0x3fce248c,
                                      0x3fd744fd, 0x3fe0ccdf, 0x3feac0c7, 0x3ff5257d};

Status take_stream(ByteReader& in, uint64_t count, Vec<uint8_t>& out) {
    const uint64_t size = in.varint();
    const uint8_t* data = in.take(size);
    TAUT_TRY(in.status());
    return read_short(data, size, count, out);
}

Status read_offsets(ByteReader& in, ArrayHeader& h, uint8_t flags) {
    TAUT_REQUIRE((flags & kByteOffsets) == 0 || (flags & kFloatOffsets) == 0, "array header: two kinds of offsets");
    for (float& offset : h.offsets) {
        if (flags & kByteOffsets) offset = float(int8_t(in.byte())) / 128;
        if (flags & kFloatOffsets) offset = in.raw<float>();
        TAUT_REQUIRE(std::fabs(offset) <= 1, "array header: an offset of more than a step");  // NaN neither
    }
    return {};
}

Status take_basis(ByteReader& in, ArrayHeader& h) {
    TAUT_REQUIRE(h.row_length <= kMostBasis, "array header: a basis of too many columns");
    const uint64_t size = in.varint();
    const uint8_t* data = in.take(size);
    TAUT_TRY(in.status());
    TAUT_REQUIRE(size, "array header: an empty basis");
    TAUT_HAVE(h.matrix.basis.try_resize_raw(size));
    std::memcpy(h.matrix.basis.data(), data, size);
    return {};
}

Status classes_in(const Vec<uint8_t>& classes, size_t& count) {
    count = 1;
    if (classes.empty()) return {};
    count = size_t(*std::max_element(classes.begin(), classes.end())) + 1;
    TAUT_REQUIRE(count <= size_t(kMaxClasses), "array header: too many classes");
    return {};
}

}  // namespace

float exponent_scale(uint8_t exponent, int fraction) {
    const int e = (int(exponent) - 128) * (16 >> fraction);  // in sixteenths of an octave
    float v;
    std::memcpy(&v, &kSixteenths[e & 15], 4);
    return std::ldexp(v, e >> 4);
}

Status read_short(const uint8_t* data, size_t size, uint64_t count, Vec<uint8_t>& out) {
    if (size == 0 || data[0] != kRice) return read_bytes(data, size, count, out);
    TAUT_REQUIRE(count <= 8 * uint64_t(size), "byte stream: longer than its bytes allow");
    BitReader in(data + 1, size - 1);
    const int middle = int(in.get(8)), k = int(in.get(3));
    TAUT_HAVE(out.try_resize_raw(count));
    for (uint8_t& b : out) {
        const uint32_t ones = in.ones(kMaxOnes);
        TAUT_REQUIRE(ones <= uint32_t(kMaxOnes), "byte stream: broken Rice code");
        const uint32_t z = ones << k | uint32_t(in.get(k));
        const int value = middle + int(z >> 1 ^ (~(z & 1) + 1));
        TAUT_REQUIRE(value >= 0 && value <= 255, "byte stream: broken Rice code");
        b = uint8_t(value);
    }
    TAUT_REQUIRE(in.ok() && in.at_end(), "byte stream: bytes left over");
    return {};
}

Status read_matrix_fields(ByteReader& in, ArrayHeader& h) {
    MatrixFields& m = h.matrix;
    TAUT_REQUIRE(h.count >= h.row_length && h.count % h.row_length == 0, "array header: a matrix without whole rows");
    const uint8_t coder = in.byte(), output = in.byte(), flags = in.byte(), fractions = in.byte();
    TAUT_REQUIRE(coder <= 2, "array header: unknown coder");
    TAUT_REQUIRE(output <= 3, "array header: unknown output type");
    constexpr int widths[4] = {4, 2, 2, 8};
    TAUT_REQUIRE(widths[output] == h.width, "array header: width and output type differ");
    h.coder = CoderId(coder);
    h.output = Output(output);
    m.trellis = flags & kTrellis;
    m.row_fraction = fractions & 15;
    m.column_fraction = fractions >> 4;
    TAUT_REQUIRE(m.row_fraction <= 4 && m.column_fraction <= 4, "array header: exponents of unknown fraction");
    h.step = in.raw<float>();
    TAUT_REQUIRE(std::isfinite(h.step) && h.step >= 0, "array header: step is negative");
    TAUT_TRY(read_offsets(in, h, flags));
    TAUT_TRY(in.status());
    if (flags & kRows) TAUT_TRY(take_stream(in, h.row_count(), m.row_exponents));
    if (flags & kColumns) TAUT_TRY(take_stream(in, h.row_length, m.column_exponents));
    for (uint8_t e : m.row_exponents)
        TAUT_REQUIRE(std::isfinite(h.step * exponent_scale(e, m.row_fraction)), "array header: a row's scale is infinite");
    if (flags & kRowClasses) TAUT_TRY(take_stream(in, h.row_count(), m.row_classes));
    if (flags & kColumnClasses) TAUT_TRY(take_stream(in, h.row_length, m.column_classes));
    size_t of_rows;
    TAUT_TRY(classes_in(m.row_classes, of_rows));
    TAUT_TRY(classes_in(m.column_classes, m.column_class_count));
    size_t contexts = 1;
    if (flags & (kRowClasses | kColumnClasses)) {
        TAUT_TRY(take_stream(in, of_rows * m.column_class_count, m.map));
        contexts = size_t(*std::max_element(m.map.begin(), m.map.end())) + 1;
        TAUT_REQUIRE(contexts <= size_t(kMaxTables), "array header: too many tables");
    }
    if (flags & kBasis) TAUT_TRY(take_basis(in, h));
    const size_t left = in.left();
    BitReader bits(in.take(left), left);
    TAUT_TRY(read_contexts(bits, h.tables, contexts, m.trellis ? 2 : 1, h.traits()));
    TAUT_REQUIRE(bits.at_end(), "array header: bytes left over");
    return {};
}

Status order_matrix_rows(const ArrayHeader& h, uint64_t first_row, uint64_t rows, RowOrder& result) {
    const uint32_t lanes = uint32_t(lanes_of(h.coder));
    const uint8_t* classes = h.matrix.row_classes.empty() ? nullptr : h.matrix.row_classes.data() + first_row;
    std::array<uint32_t, kMaxClasses + 1> begin{};
    for (uint64_t r = 0; r < rows; r++) begin[(classes ? classes[r] : 0) + 1u]++;
    result.groups.clear();
    for (size_t c = 0; c < size_t(kMaxClasses); c++) {
        begin[c + 1] += begin[c];
        for (uint32_t at = begin[c]; at < begin[c + 1]; at += lanes)
            TAUT_HAVE(result.groups.try_push({uint8_t(c), at, std::min(lanes, begin[c + 1] - at)}));
    }
    TAUT_HAVE(result.order.try_resize_raw(rows));
    for (uint32_t r = 0; r < rows; r++) result.order[begin[classes ? classes[r] : 0]++] = r;
    return {};
}

void contexts_of(const ArrayHeader& h, uint8_t row_class, uint8_t* context) {
    const MatrixFields& m = h.matrix;
    for (uint64_t c = 0; c < h.row_length; c++) {
        const size_t column_class = m.column_classes.empty() ? 0 : m.column_classes[c];
        context[c] = m.map.empty() ? 0 : m.map[row_class * m.column_class_count + column_class];
    }
}

}  // namespace taut
