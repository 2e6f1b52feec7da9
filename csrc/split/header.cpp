// Headers of split and uniform arrays, and of those that have nothing to code, from bytes.
#include <algorithm>
#include <cmath>

#include "split/split.hpp"

namespace taut {
namespace {

Status check_split(const ArrayHeader& h) {
    const int bits = h.width * 8;
    TAUT_REQUIRE(uint8_t(h.mode) <= 2, "unknown mode");
    TAUT_REQUIRE(h.low <= kMaxLow && h.low < bits, "too many raw bits");
    TAUT_REQUIRE(h.mode != Mode::float_ || h.low >= 1, "no bit for the sign");
    const int droppable = h.mode == Mode::float_ ? std::max(0, h.low - 1) : int(h.low);
    TAUT_REQUIRE(h.drop <= droppable, "drops more bits than are stored");
    TAUT_REQUIRE(h.flags <= kSkipZero, "unknown flags");
    TAUT_REQUIRE(!h.flags || h.mode == Mode::float_, "bare zeros in an array that is not of floats");
    return {};
}

// How values are split, or which levels there are.
Status read_rule(ByteReader& in, ArrayHeader& h) {
    const uint8_t coder = in.byte();
    TAUT_REQUIRE(coder <= 2, "array header: unknown coder");
    h.coder = CoderId(coder);
    if (h.kind == Kind::split) {
        h.mode = Mode(in.byte());
        h.low = in.byte();
        h.drop = in.byte();
        h.flags = in.byte();
        h.base = in.varint();
        TAUT_TRY(check_split(h));
    } else {
        const uint8_t output = in.byte();
        TAUT_REQUIRE(output <= 3, "array header: unknown output type");
        h.output = Output(output);
        constexpr int widths[4] = {4, 2, 2, 8};
        TAUT_REQUIRE(widths[output] == h.width, "array header: width and output type differ");
        h.step = in.raw<float>();
        TAUT_REQUIRE(std::isfinite(h.step) && h.step >= 0, "array header: step is negative");
        for (float& offset : h.offsets) {
            offset = in.raw<float>();
            TAUT_REQUIRE(std::fabs(offset) <= 1, "array header: an offset of more than a step");  // NaN neither
        }
    }
    TAUT_TRY(in.status());
    return {};
}

// The tables, and which of them every row has.
Status read_tables(ByteReader& in, ArrayHeader& h) {
    const int tables = in.byte();
    const uint64_t rows = in.varint();
    const uint8_t* row_bytes = in.take(rows);
    TAUT_TRY(in.status());
    TAUT_REQUIRE(tables >= 1 && tables <= kMaxTables, "array header: no table, or too many");
    if (rows) TAUT_TRY(read_bytes(row_bytes, rows, h.row_count(), h.rows));
    for (uint8_t row : h.rows) {
        TAUT_REQUIRE((row & ~kDropRow) < tables, "array header: a row's table does not exist");
        TAUT_REQUIRE(row < kDropRow || h.drop > 0, "array header: a row drops bits, the array none");
    }
    const size_t left = in.left();
    BitReader bits(in.take(left), left);
    TAUT_HAVE(h.tables.try_resize(size_t(tables)));
    for (Table& t : h.tables) TAUT_REQUIRE(read_table(bits, t, h.traits()), "array header: broken table");
    TAUT_REQUIRE(bits.at_end(), "array header: bytes left over");
    return {};
}

}  // namespace

Status read_split_fields(ByteReader& in, ArrayHeader& h) {
    if (h.kind == Kind::constant) {
        const uint8_t* value = in.take(h.width);
        TAUT_REQUIRE(value, "array header: ends early");
        std::memcpy(&h.value, value, h.width);
    }
    if (h.kind == Kind::constant || h.kind == Kind::stored) {
        TAUT_REQUIRE(in.left() == 0, "array header: bytes left over");
        return {};
    }
    TAUT_TRY(read_rule(in, h));
    return read_tables(in, h);
}

}  // namespace taut
