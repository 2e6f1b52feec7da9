// Small byte streams: whichever way to write them is shortest.
#include "rans/streams.hpp"

#include <algorithm>

#include "base/bytes.hpp"
#include "rans/encode.hpp"
#include "rans/tables.hpp"

namespace taut {
std::vector<uint8_t> write_bytes(const std::vector<uint8_t>& bytes) {
    std::vector<uint8_t> raw{uint8_t(ByteStream::raw)};
    raw.insert(raw.end(), bytes.begin(), bytes.end());
    if (bytes.empty()) return raw;
    if (std::all_of(bytes.begin(), bytes.end(), [&](uint8_t b) { return b == bytes[0]; }))
        return {uint8_t(ByteStream::run), bytes[0]};
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
    std::vector<uint8_t> out{uint8_t(big ? ByteStream::dense : ByteStream::small)};
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

}  // namespace taut
