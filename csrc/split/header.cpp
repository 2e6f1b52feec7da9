// Headers of split and uniform arrays, and of those that have nothing to code.
#include <algorithm>
#include <cmath>

#include "split/split.hpp"

namespace taut {
namespace {

void check_split(const ArrayHeader& h) {
    const int bits = h.width * 8;
    require(uint8_t(h.mode) <= 2, "unknown mode");
    require(h.low <= kMaxLow && h.low < bits, "too many raw bits");
    require(h.mode != Mode::float_ || h.low >= 1, "no bit for the sign");
    const int droppable = h.mode == Mode::float_ ? std::max(0, h.low - 1) : int(h.low);
    require(h.drop <= droppable, "drops more bits than are stored");
    require(h.flags <= kSkipZero, "unknown flags");
    require(!h.flags || h.mode == Mode::float_, "bare zeros in an array that is not of floats");
}

// How values are split, or which levels there are.
void read_rule(ByteReader& in, ArrayHeader& h) {
    const uint8_t coder = in.byte();
    require(coder <= 2, "array header: unknown coder");
    h.coder = CoderId(coder);
    if (h.kind == Kind::split) {
        h.mode = Mode(in.byte());
        h.low = in.byte();
        h.drop = in.byte();
        h.flags = in.byte();
        h.base = in.varint();
        check_split(h);
    } else {
        const uint8_t output = in.byte();
        require(output <= 3, "array header: unknown output type");
        h.output = Output(output);
        constexpr int widths[4] = {4, 2, 2, 8};
        require(widths[output] == h.width, "array header: width and output type differ");
        h.step = in.raw<float>();
        require(std::isfinite(h.step) && h.step >= 0, "array header: step is negative");
        for (float& offset : h.offsets) {
            offset = in.raw<float>();
            require(std::fabs(offset) <= 1, "array header: an offset of more than a step");  // NaN neither
        }
    }
}

// The tables, and which of them every row has.
void read_tables(ByteReader& in, ArrayHeader& h) {
    const int tables = in.byte();
    require(tables >= 1 && tables <= kMaxTables, "array header: no table, or too many");
    const uint64_t rows = in.varint();
    const uint8_t* row_bytes = in.take(rows);
    if (rows) h.rows = read_bytes(row_bytes, rows, h.row_count());
    for (uint8_t row : h.rows) {
        require((row & ~kDropRow) < tables, "array header: a row's table does not exist");
        require(row < kDropRow || h.drop > 0, "array header: a row drops bits, the array none");
    }
    const size_t left = in.left();
    BitReader bits(in.take(left), left);
    h.tables.resize(size_t(tables));
    for (Table& t : h.tables) require(read_table(bits, t, h.traits()), "array header: broken table");
    require(bits.at_end(), "array header: bytes left over");
}

}  // namespace

std::vector<uint8_t> write_split_header(const ArrayHeader& h) {
    std::vector<uint8_t> out = begin_header(h);
    if (h.kind == Kind::constant) {
        const auto* p = reinterpret_cast<const uint8_t*>(&h.value);
        out.insert(out.end(), p, p + h.width);
    }
    if (h.kind != Kind::split && h.kind != Kind::uniform) return out;
    out.push_back(uint8_t(h.coder));
    if (h.kind == Kind::split) {
        out.push_back(uint8_t(h.mode));
        out.push_back(h.low);
        out.push_back(h.drop);
        out.push_back(h.flags);
        put_varint(out, h.base);
    } else {
        out.push_back(uint8_t(h.output));
        put_raw(out, h.step);
        for (float offset : h.offsets) put_raw(out, offset);
    }
    out.push_back(uint8_t(h.tables.size()));
    std::vector<uint8_t> rows;
    if (!h.rows.empty()) rows = write_bytes(h.rows);
    put_varint(out, rows.size());
    out.insert(out.end(), rows.begin(), rows.end());
    BitWriter bits;
    for (const Table& t : h.tables) write_table(bits, t);
    const auto tables = bits.finish();
    out.insert(out.end(), tables.begin(), tables.end());
    return out;
}

void read_split_fields(ByteReader& in, ArrayHeader& h) {
    if (h.kind == Kind::constant) std::memcpy(&h.value, in.take(h.width), h.width);
    if (h.kind == Kind::constant || h.kind == Kind::stored) {
        require(in.left() == 0, "array header: bytes left over");
        return;
    }
    read_rule(in, h);
    read_tables(in, h);
}

}  // namespace taut
