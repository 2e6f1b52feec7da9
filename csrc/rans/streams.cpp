// Small byte streams: whichever way to write them is shortest.
#include "rans/streams.hpp"

#include <algorithm>

#include "base/bytes.hpp"
#include "rans/encode.hpp"
#include "rans/tables.hpp"

namespace taut {
namespace {

enum class Stream : uint8_t { raw = 0, run = 1, small = 2, dense = 3 };

}  // namespace

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

std::vector<uint8_t> read_bytes(const uint8_t* data, size_t size, uint64_t count, DecodeDenseSteps* wide) {
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
        const size_t steps = lanes < kStep || !wide
                                 ? 0 : std::min<size_t>((count - at) / kStep, size_t(end - p) / (2 * kStep));
        size_t bank = 0;
        if (steps) wide(table, state.data(), bank, steps, p, out.data() + at);
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
