// Chunks of a matrix.
#include <algorithm>
#include <bit>

#include "array/values.hpp"
#include "matrix/basis.hpp"
#include "matrix/columns.hpp"
#include "matrix/layout.hpp"
#include "matrix/rare.hpp"

namespace taut {
namespace {

struct MatrixChunk {
    ConstBytes units, exceptions, states;
    Vec<uint8_t> tail;
};

Status open_chunk(ConstBytes bytes, uint64_t values, size_t state_size, const Kernels& kernels, MatrixChunk& c) {
    ByteReader in(bytes.data, bytes.size);
    const uint64_t unit_size = in.varint(), tail_size = in.varint(), exception_size = in.varint();
    const uint64_t escapes = tail_size ? in.varint() : 0;
    TAUT_REQUIRE(escapes <= values, "more escapes than values");
    c.units = {in.take(unit_size), size_t(unit_size)};
    const uint8_t* tail = in.take(tail_size);
    TAUT_TRY(in.status());
    if (tail_size) TAUT_TRY(read_bytes(tail, tail_size, escapes, c.tail, kernels.dense_steps));
    TAUT_REQUIRE(!tail_size || escapes, "a tail without escapes");
    c.exceptions = {in.take(exception_size), size_t(exception_size)};
    c.states = {in.take(state_size), state_size};
    TAUT_TRY(in.status());
    TAUT_REQUIRE(!in.left(), "bytes are left over");
    return {};
}

void meet_rare(RareSymbols& rare, uint64_t mask, size_t first_lane, size_t column, uint8_t mark,
               const uint8_t* quantisers, uint8_t* symbols) {
    for (; mask; mask &= mask - 1) {
        const size_t i = size_t(std::countr_zero(mask));
        symbols[i] = rare.meet(symbols[i], symbols[i] == mark, quantisers[i] & 1, first_lane + i, column);
    }
}

// What the levels of one byte stand for, and how a block of them becomes numbers.
struct Levels {
    std::array<float, 256> amounts;
    MatrixRule rule{{}, 1, nullptr};

    Levels(const ArrayHeader& h, const RareSymbols& rare) {
        for (int level = -128; level < 128; level++) {
            const int q = h.matrix.trellis ? (level > 0 ? level + 1 : level - 1) / 2 : level;
            amounts[uint8_t(level)] = rare.amount(q, level);
        }
        for (int k = 1; k < 8; k++)
            rule.offset[size_t(k)] = h.offsets[size_t(std::min(3, h.matrix.trellis ? (k + 1) / 2 : k) - 1)];
    }
    void put_row(Output output, const Kernels& kernels, const int8_t* row, size_t width, uint8_t* to) const {
        size_t j = kernels.matrix_row ? kernels.matrix_row(rule, output, row, width, to) : 0;
        for (; j < width; j++) {
            const float v = amounts[uint8_t(row[j])] * rule.row_scale;
            store(output, v * rule.column_scale[j], to, j);
        }
    }
};

}  // namespace

float matrix_row_scale(const ArrayHeader& h, uint64_t row) {
    const Vec<uint8_t>& e = h.matrix.row_exponents;
    return h.step * (e.empty() ? 1.0f : exponent_scale(e[row], h.matrix.row_fraction));
}

Status MatrixDecoder::decode_chunk(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes,
                                   uint8_t* out, Put put, const uint8_t* wanted) const {
    if (basis_.empty() || !out || put == Put::integers) return decode(h, h.output, kernels, chunk, bytes, out, put, wanted);
    const uint64_t rows = std::min(h.chunk_rows, h.row_count() - chunk * h.chunk_rows);
    Vec<float> numbers(memory_);
    TAUT_HAVE(numbers.try_resize_raw(rows * h.row_length));
    TAUT_TRY(decode(h, Output::f32, kernels, chunk, bytes, reinterpret_cast<uint8_t*>(numbers.data()), put, wanted));
    Combination combination(memory_);
    TAUT_TRY(combination.open(size_t(h.row_length)));
    for (uint64_t r = 0; r < rows; r++)
        if (!wanted || wanted[r])
            TAUT_TRY(combination.put(kernels, numbers.data() + r * h.row_length, basis_.data(), h.output,
                                     out + r * h.row_length * h.width));
    return {};
}

Status MatrixDecoder::decode(const ArrayHeader& h, Output output, const Kernels& kernels, uint64_t chunk,
                             ConstBytes bytes, uint8_t* out, Put put, const uint8_t* wanted) const {
    const ColumnLoops& loops = loops_of(h.coder);
    const size_t lanes = lanes_of(h.coder);
    const uint64_t first_row = chunk * h.chunk_rows, rows = std::min(h.chunk_rows, h.row_count() - first_row);
    MatrixChunk parts{{}, {}, {}, Vec<uint8_t>(memory_)};
    TAUT_TRY(open_chunk(bytes, rows * h.row_length, loops.state_size, kernels, parts));
    alignas(64) LaneStates states;
    std::memcpy(&states, parts.states.data, loops.state_size);
    TAUT_REQUIRE(loops.all(states, false), "state out of range");
    RareSymbols rare(h, std::move(parts.tail), parts.exceptions, memory_);
    const size_t columns = size_t(h.row_length), value_bytes = put == Put::integers ? 4 : size_t(width_of(output));
    const size_t row_bytes = columns * value_bytes;
    Levels made(h, rare);
    Vec<uint8_t> contexts(memory_);
    Vec<int8_t> levels(memory_), turned(memory_);
    TAUT_HAVE(contexts.try_resize(columns) && levels.try_resize(kMatrixBlock * lanes) &&
              turned.try_resize(kMatrixBlock * lanes));
    std::array<float, kMostLanes> row_scale;
    const uint8_t *p = parts.units.data, *end = p + parts.units.size;
    const uint32_t* const slots = slots_.empty() ? nullptr : slots_.data();
    int row_class = -1;
    RowOrder in_order(memory_);
    TAUT_TRY(order_matrix_rows(h, first_row, rows, in_order));
    for (const RowGroup& g : in_order.groups) {
        if (g.row_class != row_class) contexts_of(h, uint8_t(row_class = g.row_class), contexts.data());
        const size_t n = g.count;
        const uint32_t* const of_lane = in_order.order.data() + g.begin;
        for (size_t r = 0; r < n; r++) row_scale[r] = matrix_row_scale(h, first_row + of_lane[r]);
        const bool none = !out || (wanted && std::none_of(of_lane, of_lane + n, [&](uint32_t r) { return wanted[r] != 0; }));
        alignas(64) uint8_t trellis[kMostLanes] = {};
        for (size_t c = 0; c < columns; c += kMatrixBlock) {
            const size_t width = std::min(kMatrixBlock, columns - c);
            rare.found.clear();
            MatrixColumns m{contexts.data() + c, 0, width, n, trellis, p, end, levels.data(), &rare, meet_rare};
            TAUT_TRY(loops.columns(h, kernels, lookup_, slots, states, m));
            p = m.p;
            TAUT_TRY(rare.status());
            if (none) continue;
            const bool wide = kernels.transpose && lanes >= 64;
            if (wide) kernels.transpose(levels.data(), lanes, n, turned.data());
            made.rule.column_scale = column_scale_.data() + c;
            for (size_t r = 0; r < n; r++) {
                if (wanted && !wanted[of_lane[r]]) continue;
                uint8_t* to = out + of_lane[r] * row_bytes + c * value_bytes;
                const int8_t* row = turned.data() + r * kMatrixBlock;
                made.rule.row_scale = row_scale[r];
                if (!wide)
                    for (size_t j = 0; j < width; j++) turned[r * kMatrixBlock + j] = levels[j * lanes + r];
                if (put == Put::values) made.put_row(output, kernels, row, width, to);
                else
                    for (size_t j = 0; j < width; j++) taut::put(to, j, int32_t(row[j]));
            }
            for (const RareSymbols::Found& f : rare.found) {
                if (wanted && !wanted[of_lane[f.lane]]) continue;
                uint8_t* to = out + of_lane[f.lane] * row_bytes;
                const float v = f.amount * row_scale[f.lane];
                if (put == Put::values) store(output, v * column_scale_[c + f.column], to, c + f.column);
                else {
                    TAUT_REQUIRE(f.level == int32_t(f.level), kWideLevel);
                    taut::put(to, c + f.column, int32_t(f.level));
                }
            }
        }
    }
    TAUT_REQUIRE(loops.all(states, true), "final state is wrong");
    TAUT_REQUIRE(p == end, "symbols left over");
    TAUT_REQUIRE(rare.used_up(), "escapes or exceptions left over");
    return {};
}

}  // namespace taut
