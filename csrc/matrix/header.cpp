// The header of a matrix: its scales, its rows' and columns' classes, and their byte streams.
#include <algorithm>
#include <cmath>

#include "matrix/layout.hpp"

namespace taut {
namespace {

constexpr uint8_t kRice = 4;  // byte stream type that only matrices have
constexpr int kMaxRice = 7, kMaxOnes = 32;
enum Flag : uint8_t { kTrellis = 1, kByteOffsets = 2, kFloatOffsets = 4, kRows = 8, kColumns = 16, kRowClasses = 32,
                      kColumnClasses = 64 };

// 2^(j/16), rounded to float32.
constexpr uint32_t kSixteenths[16] = {0x3f800000, 0x3f85aac3, 0x3f8b95c2, 0x3f91c3d3, 0x3f9837f0, 0x3f9ef532,
                                      0x3fa5fed7, 0x3fad583f, 0x3fb504f3, 0x3fbd08a4, 0x3fc5672a, 0x3fce248c,
                                      0x3fd744fd, 0x3fe0ccdf, 0x3feac0c7, 0x3ff5257d};

uint32_t zigzag(int v) { return uint32_t(v) << 1 ^ uint32_t(v >> 31); }

void put_stream(std::vector<uint8_t>& out, const std::vector<uint8_t>& bytes) {
    const std::vector<uint8_t> coded = write_short(bytes);
    put_varint(out, coded.size());
    out.insert(out.end(), coded.begin(), coded.end());
}

std::vector<uint8_t> take_stream(ByteReader& in, uint64_t count) {
    const uint64_t size = in.varint();
    return read_short(in.take(size), size, count);
}

// Offsets that are 128ths take a byte each.
bool byte_offsets(const ArrayHeader& h) {
    return std::all_of(h.offsets.begin(), h.offsets.end(), [](float o) {
        const float n = o * 128;
        return n >= -127 && n <= 127 && n == float(int(n)) && !(n == 0 && std::signbit(n));
    });
}

uint8_t flags_of(const ArrayHeader& h) {
    const MatrixFields& m = h.matrix;
    uint8_t flags = m.trellis ? kTrellis : 0;
    const bool none = std::all_of(h.offsets.begin(), h.offsets.end(), [](float o) { return o == 0; });
    if (!none) flags |= byte_offsets(h) ? kByteOffsets : kFloatOffsets;
    if (!m.row_exponents.empty()) flags |= kRows;
    if (!m.column_exponents.empty()) flags |= kColumns;
    if (!m.row_classes.empty()) flags |= kRowClasses;
    if (!m.column_classes.empty()) flags |= kColumnClasses;
    return flags;
}

void read_offsets(ByteReader& in, ArrayHeader& h, uint8_t flags) {
    require((flags & kByteOffsets) == 0 || (flags & kFloatOffsets) == 0, "array header: two kinds of offsets");
    for (float& offset : h.offsets) {
        if (flags & kByteOffsets) offset = float(int8_t(in.byte())) / 128;
        if (flags & kFloatOffsets) offset = in.raw<float>();
        require(std::fabs(offset) <= 1, "array header: an offset of more than a step");  // NaN neither
    }
}

size_t classes_in(const std::vector<uint8_t>& classes) {
    if (classes.empty()) return 1;
    const size_t count = size_t(*std::max_element(classes.begin(), classes.end())) + 1;
    require(count <= size_t(kMaxClasses), "array header: too many classes");
    return count;
}

}  // namespace

float exponent_scale(uint8_t exponent, int fraction) {
    const int e = (int(exponent) - 128) * (16 >> fraction);  // in sixteenths of an octave
    float v;
    std::memcpy(&v, &kSixteenths[e & 15], 4);
    return std::ldexp(v, e >> 4);
}

std::vector<uint8_t> write_short(const std::vector<uint8_t>& bytes) {
    std::vector<uint8_t> best = write_bytes(bytes);
    if (bytes.size() < 2 || best.size() <= 3) return best;
    std::vector<uint8_t> sorted = bytes;
    std::nth_element(sorted.begin(), sorted.begin() + ptrdiff_t(sorted.size() / 2), sorted.end());
    const uint8_t middle = sorted[sorted.size() / 2];
    for (int k = 0; k <= kMaxRice; k++) {
        BitWriter out;
        out.put(middle, 8);
        out.put(uint64_t(k), 3);
        bool fits = true;
        for (uint8_t b : bytes) {
            const uint32_t z = zigzag(int(b) - int(middle)), ones = z >> k;
            fits &= ones <= uint32_t(kMaxOnes);
            if (!fits) break;
            out.put((uint64_t(1) << ones) - 1, int(ones) + 1);
            out.put(z & ((1u << k) - 1), k);
        }
        std::vector<uint8_t> coded = out.finish();
        if (!fits || coded.size() + 1 >= best.size()) continue;
        coded.insert(coded.begin(), kRice);
        best = std::move(coded);
    }
    return best;
}

std::vector<uint8_t> read_short(const uint8_t* data, size_t size, uint64_t count) {
    if (size == 0 || data[0] != kRice) return read_bytes(data, size, count);
    require(count <= 8 * uint64_t(size), "byte stream: longer than its bytes allow");
    BitReader in(data + 1, size - 1);
    const int middle = int(in.get(8)), k = int(in.get(3));
    std::vector<uint8_t> out(count);
    for (uint8_t& b : out) {
        const uint32_t ones = in.ones(kMaxOnes);
        require(ones <= uint32_t(kMaxOnes), "byte stream: broken Rice code");
        const uint32_t z = ones << k | uint32_t(in.get(k));
        const int value = middle + int(z >> 1 ^ (~(z & 1) + 1));
        require(value >= 0 && value <= 255, "byte stream: broken Rice code");
        b = uint8_t(value);
    }
    require(in.ok() && in.at_end(), "byte stream: bytes left over");
    return out;
}

std::vector<uint8_t> write_matrix_header(const ArrayHeader& h) {
    std::vector<uint8_t> out = begin_header(h);
    const MatrixFields& m = h.matrix;
    const uint8_t flags = flags_of(h);
    out.push_back(uint8_t(h.coder));
    out.push_back(uint8_t(h.output));
    out.push_back(flags);
    out.push_back(uint8_t(m.row_fraction | m.column_fraction << 4));
    put_raw(out, h.step);
    for (float offset : h.offsets) {
        if (flags & kByteOffsets) out.push_back(uint8_t(int8_t(offset * 128)));
        if (flags & kFloatOffsets) put_raw(out, offset);
    }
    if (flags & kRows) put_stream(out, m.row_exponents);
    if (flags & kColumns) put_stream(out, m.column_exponents);
    if (flags & kRowClasses) put_stream(out, m.row_classes);
    if (flags & kColumnClasses) put_stream(out, m.column_classes);
    if (flags & (kRowClasses | kColumnClasses)) put_stream(out, m.map);
    out.insert(out.end(), m.coded_tables.begin(), m.coded_tables.end());
    return out;
}

void read_matrix_fields(ByteReader& in, ArrayHeader& h) {
    MatrixFields& m = h.matrix;
    require(h.count >= h.row_length && h.count % h.row_length == 0, "array header: a matrix without whole rows");
    const uint8_t coder = in.byte(), output = in.byte(), flags = in.byte(), fractions = in.byte();
    require(coder <= 2, "array header: unknown coder");
    require(output <= 3, "array header: unknown output type");
    constexpr int widths[4] = {4, 2, 2, 8};
    require(widths[output] == h.width, "array header: width and output type differ");
    require(flags < 128, "array header: unknown flags");
    h.coder = CoderId(coder);
    h.output = Output(output);
    m.trellis = flags & kTrellis;
    m.row_fraction = fractions & 15;
    m.column_fraction = fractions >> 4;
    require(m.row_fraction <= 4 && m.column_fraction <= 4, "array header: exponents of unknown fraction");
    h.step = in.raw<float>();
    require(std::isfinite(h.step) && h.step >= 0, "array header: step is negative");
    read_offsets(in, h, flags);
    if (flags & kRows) m.row_exponents = take_stream(in, h.row_count());
    if (flags & kColumns) m.column_exponents = take_stream(in, h.row_length);
    for (uint8_t e : m.row_exponents)
        require(std::isfinite(h.step * exponent_scale(e, m.row_fraction)), "array header: a row's scale is infinite");
    if (flags & kRowClasses) m.row_classes = take_stream(in, h.row_count());
    if (flags & kColumnClasses) m.column_classes = take_stream(in, h.row_length);
    const size_t of_rows = classes_in(m.row_classes);
    m.column_class_count = classes_in(m.column_classes);
    size_t contexts = 1;
    if (flags & (kRowClasses | kColumnClasses)) {
        m.map = take_stream(in, of_rows * m.column_class_count);
        contexts = size_t(*std::max_element(m.map.begin(), m.map.end())) + 1;
        require(contexts <= size_t(kMaxTables), "array header: too many tables");
    }
    const size_t left = in.left();
    BitReader bits(in.take(left), left);
    require(read_contexts(bits, h.tables, contexts, m.trellis ? 2 : 1, h.traits()), "array header: broken table");
    require(bits.at_end(), "array header: bytes left over");
}

RowOrder order_matrix_rows(const ArrayHeader& h, uint64_t first_row, uint64_t rows) {
    const uint32_t lanes = uint32_t(lanes_of(h.coder));
    const uint8_t* classes = h.matrix.row_classes.empty() ? nullptr : h.matrix.row_classes.data() + first_row;
    std::array<uint32_t, kMaxClasses + 1> begin{};
    for (uint64_t r = 0; r < rows; r++) begin[(classes ? classes[r] : 0) + 1u]++;
    RowOrder result;
    for (size_t c = 0; c < size_t(kMaxClasses); c++) {
        begin[c + 1] += begin[c];
        for (uint32_t at = begin[c]; at < begin[c + 1]; at += lanes)
            result.groups.push_back({uint8_t(c), at, std::min(lanes, begin[c + 1] - at)});
    }
    result.order.resize(rows);
    for (uint32_t r = 0; r < rows; r++) result.order[begin[classes ? classes[r] : 0]++] = r;
    return result;
}

void contexts_of(const ArrayHeader& h, uint8_t row_class, uint8_t* context) {
    const MatrixFields& m = h.matrix;
    for (uint64_t c = 0; c < h.row_length; c++) {
        const size_t column_class = m.column_classes.empty() ? 0 : m.column_classes[c];
        context[c] = m.map.empty() ? 0 : m.map[row_class * m.column_class_count + column_class];
    }
}

}  // namespace taut
