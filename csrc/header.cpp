// The header of a coded array and the small byte streams inside it.
#include <algorithm>
#include <cmath>

#include "adaptive.hpp"
#include "encode.hpp"
#include "kernels.hpp"
#include "matrix.hpp"
#include "varint.hpp"

namespace taut {
namespace {

constexpr char kMagic[4] = {'L', 'C', 'A', '1'};
enum class Stream : uint8_t { raw = 0, run = 1, small = 2, dense = 3 };

void require(bool good, const char* what) {
    if (!good) throw FormatError(what);
}

// A row's length must not overflow anything that is computed from it later.
void check_geometry(const ArrayHeader& h) {
    require(h.width == 1 || h.width == 2 || h.width == 4 || h.width == 8, "width is not 1, 2, 4 or 8");
    require(h.count <= (uint64_t(1) << 56), "more than 2^56 values");
    require(h.row_length >= 1 && h.chunk_rows >= 1, "empty rows or chunks");
    require(h.row_length <= kMaxChunkValues && h.chunk_rows <= kMaxChunkValues &&
                h.row_length * h.chunk_rows <= kMaxChunkValues,
            "a chunk of more than 2^22 values");
}

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
    if (rows) h.rows = read_bytes(row_bytes, rows, h.row_count(), portable_kernels());
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

std::vector<uint8_t> write_header(const ArrayHeader& h) {
    std::vector<uint8_t> out(kMagic, kMagic + 4);
    out.push_back(uint8_t(h.kind));
    out.push_back(h.width);
    put_varint(out, h.count);
    put_varint(out, h.row_length);
    put_varint(out, h.chunk_rows);
    if (h.kind == Kind::constant) {
        const auto* p = reinterpret_cast<const uint8_t*>(&h.value);
        out.insert(out.end(), p, p + h.width);
    }
    if (h.kind == Kind::matrix) write_matrix_fields(out, h);
    if (h.kind == Kind::adaptive) write_adaptive_fields(out, h);
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

ArrayHeader read_header(const uint8_t* data, size_t size, uint64_t nbytes) {
    ByteReader in(data, size);
    require(size >= 4 && std::memcmp(in.take(4), kMagic, 4) == 0, "array header: not a coded array of version 1");
    ArrayHeader h;
    const uint8_t kind = in.byte();
    require(kind <= 5, "array header: unknown kind");
    h.kind = Kind(kind);
    h.width = in.byte();
    h.count = in.varint();
    h.row_length = in.varint();
    h.chunk_rows = in.varint();
    check_geometry(h);
    if (nbytes != kAnySize && nbytes != h.output_bytes())
        throw FormatError("array decodes to " + std::to_string(h.output_bytes()) + " bytes, " +
                          std::to_string(nbytes) + " were expected");
    if (nbytes == kAnySize && h.row_count() > kMaxLooseRows) return h;
    if (h.kind == Kind::constant) std::memcpy(&h.value, in.take(h.width), h.width);
    if (h.kind == Kind::constant || h.kind == Kind::stored) {
        require(in.left() == 0, "array header: bytes left over");
        return h;
    }
    if (h.kind == Kind::matrix) {
        read_matrix_fields(in, h);
        return h;
    }
    if (h.kind == Kind::adaptive) {
        read_adaptive_fields(in, h, nbytes == kAnySize);
        return h;
    }
    read_rule(in, h);
    read_tables(in, h);
    return h;
}

std::vector<uint8_t> write_bytes(const std::vector<uint8_t>& bytes) {
    std::vector<uint8_t> raw{uint8_t(Stream::raw)};
    raw.insert(raw.end(), bytes.begin(), bytes.end());
    if (bytes.empty()) return raw;
    if (std::all_of(bytes.begin(), bytes.end(), [&](uint8_t b) { return b == bytes[0]; }))
        return {uint8_t(Stream::run), bytes[0]};
    Histogram counts{};
    for (uint8_t b : bytes) counts[b]++;
    // The tail of a tail is not worth a format: every byte gets a slot here, rare ones at its price.
    for (int b = 0; b < 256; b++)
        if (counts[size_t(b)])
            counts[size_t(b)] = std::max<uint32_t>(counts[size_t(b)], uint32_t(bytes.size() / 2048 + 1));
    const Table table = make_table(counts, kDense, false);
    const EncodeTable lookup = make_encode_table<Dense>(table);
    for (int b = 0; b < 256; b++)
        if (counts[size_t(b)] && lookup.frequency[size_t(b)] == 0) return raw;
    const bool big = bytes.size() >= 2048;
    std::vector<uint8_t> out{uint8_t(big ? Stream::dense : Stream::small)};
    BitWriter bits;
    write_table(bits, table);
    const auto table_bytes = bits.finish();
    put_varint(out, table_bytes.size());
    out.insert(out.end(), table_bytes.begin(), table_bytes.end());
    const std::vector<SymbolRun> run{{&lookup, bytes.data(), bytes.size()}};
    const Units coded = big ? encode_runs<Dense, 64>(run) : encode_runs<Dense, 4>(run);
    out.insert(out.end(), coded.units.begin(), coded.units.end());
    out.insert(out.end(), coded.states.begin(), coded.states.end());
    return out.size() < raw.size() ? out : raw;
}

std::vector<uint8_t> read_bytes(const uint8_t* data, size_t size, uint64_t count, const Kernels& kernels) {
    ByteReader in(data, size);
    const uint8_t type = in.byte();
    require(type <= 3, "byte stream: unknown type");
    std::vector<uint8_t> out;
    if (Stream(type) == Stream::raw) {
        require(in.left() == count, "byte stream: wrong length");
        out.assign(in.take(count), data + size);
        return out;
    }
    if (Stream(type) == Stream::run) {
        const uint8_t value = in.byte();
        require(in.left() == 0, "byte stream: bytes left over");
        out.assign(count, value);
        return out;
    }
    const uint64_t table_size = in.varint();
    BitReader bits(in.take(table_size), table_size);
    Table table;
    require(read_table(bits, table, kDense) && bits.at_end(), "byte stream: broken table");
    require(table.frequency[0] == 0, "byte stream: a table with an escape");
    const int lanes = Stream(type) == Stream::dense ? 64 : 4;
    require(in.left() >= size_t(lanes) * 4, "byte stream: no states");
    const size_t unit_bytes = in.left() - size_t(lanes) * 4;
    const uint8_t* p = in.take(unit_bytes);
    const uint8_t* end = p + unit_bytes;
    // A symbol of probability 1 - 2^-12 at best: a stream of `unit_bytes` can hold no more symbols than this.
    const uint64_t most = (uint64_t(unit_bytes) + 4 * uint64_t(lanes)) * 8 * 4096;
    require(count <= most, "byte stream: longer than its bytes allow");
    std::array<uint32_t, 64> state{};
    std::memcpy(state.data(), in.take(size_t(lanes) * 4), size_t(lanes) * 4);
    for (int i = 0; i < lanes; i++) require(state[size_t(i)] >= Dense::low, "byte stream: state out of range");
    out.resize(count);
    for (uint64_t at = 0; at < count;) {
        // A wide step reads a unit per lane and some spare bytes, which the states that follow provide.
        const size_t steps = lanes < kStep || !kernels.dense_steps
                                 ? 0 : std::min<size_t>((count - at) / kStep, size_t(end - p) / (2 * kStep));
        size_t bank = 0;
        if (steps) kernels.dense_steps(table, state.data(), bank, steps, p, out.data() + at);
        at += steps * kStep;
        const size_t n = size_t(std::min<uint64_t>(uint64_t(lanes), count - at));
        require(decode_step<Dense>(table, state.data(), n, p, end, out.data() + at), "byte stream: ends early");
        at += n;
    }
    for (int i = 0; i < lanes; i++) require(state[size_t(i)] == Dense::low, "byte stream: final state is wrong");
    require(p == end, "byte stream: bytes left over");
    return out;
}

}  // namespace taut
