// Small byte streams, read.
#include "base/bytes.hpp"
#include "rans/streams.hpp"
#include "rans/tables.hpp"

namespace taut {

Status read_bytes(const uint8_t* data, size_t size, uint64_t count, Vec<uint8_t>& out, DecodeDenseSteps* wide) {
    ByteReader in(data, size);
    const uint8_t type = in.byte();
    TAUT_TRY(in.status());
    TAUT_REQUIRE(type <= 3, "byte stream: unknown type");
    if (ByteStream(type) == ByteStream::raw) {
        TAUT_REQUIRE(in.left() == count, "byte stream: wrong length");
        TAUT_HAVE(out.try_resize_raw(count));
        if (count) std::memcpy(out.data(), in.take(count), count);
        return {};
    }
    if (ByteStream(type) == ByteStream::run) {
        const uint8_t value = in.byte();
        TAUT_TRY(in.status());
        TAUT_REQUIRE(in.left() == 0, "byte stream: bytes left over");
        TAUT_HAVE(out.try_assign(count, value));
        return {};
    }
    const uint64_t table_size = in.varint();
    const uint8_t* table_bytes = in.take(table_size);
    TAUT_TRY(in.status());
    BitReader bits(table_bytes, table_size);
    Table table;
    TAUT_REQUIRE(read_table(bits, table, kDense) && bits.at_end(), "byte stream: broken table");
    TAUT_REQUIRE(table.frequency[0] == 0, "byte stream: a table with an escape");
    const int lanes = ByteStream(type) == ByteStream::dense ? 64 : 4;
    TAUT_REQUIRE(in.left() >= size_t(lanes) * 4, "byte stream: no states");
    const size_t unit_bytes = in.left() - size_t(lanes) * 4;
    const uint8_t* p = in.take(unit_bytes);
    const uint8_t* end = p + unit_bytes;
    // A symbol of probability 1 - 2^-12 at best: a stream of `unit_bytes` can hold no more symbols than this.
    const uint64_t most = (uint64_t(unit_bytes) + 4 * uint64_t(lanes)) * 8 * 4096;
    TAUT_REQUIRE(count <= most, "byte stream: longer than its bytes allow");
    std::array<uint32_t, 64> state{};
    std::memcpy(state.data(), in.take(size_t(lanes) * 4), size_t(lanes) * 4);
    for (int i = 0; i < lanes; i++) TAUT_REQUIRE(state[size_t(i)] >= Dense::low, "byte stream: state out of range");
    TAUT_HAVE(out.try_resize_raw(count));
    for (uint64_t at = 0; at < count;) {
        // A wide step reads a unit per lane and some spare bytes, which the states that follow provide.
        const size_t steps = lanes < kStep || !wide
                                 ? 0 : std::min<size_t>((count - at) / kStep, size_t(end - p) / (2 * kStep));
        size_t bank = 0;
        if (steps) wide(table, state.data(), bank, steps, p, out.data() + at);
        at += steps * kStep;
        const size_t n = size_t(std::min<uint64_t>(uint64_t(lanes), count - at));
        TAUT_REQUIRE(decode_step<Dense>(table, state.data(), n, p, end, out.data() + at), "byte stream: ends early");
        at += n;
    }
    for (int i = 0; i < lanes; i++) TAUT_REQUIRE(state[size_t(i)] == Dense::low, "byte stream: final state is wrong");
    TAUT_REQUIRE(p == end, "byte stream: bytes left over");
    return {};
}

}  // namespace taut
