// A look at an array's rows before coding: of what scale each is, and which symbols it has.
#pragma once
#include "split/contexts.hpp"
#include "split/rows.hpp"

namespace taut {

// Which part of every row is looked at: all of a small array, else what lies in the middle.
struct Probe {
    size_t most;  // values of a row
    bool sampled;
    uint64_t begin(size_t length) const { return (length - std::min(most, length)) / 2; }
    size_t size(size_t length) const { return std::min(most, length); }
};

inline Probe choose_probe(const Layout& layout, bool everything) {
    const size_t row = size_t(layout.row_length);
    // A block of 64 from the middle of each row tells its scale to a fifth of an octave; a few tens of thousands of
    // symbols tell tables.
    constexpr uint64_t enough = 49152;
    const bool all = everything || layout.count < 2 * enough;
    const size_t share = size_t(std::min<uint64_t>(row, enough / std::max<uint64_t>(1, layout.rows)));
    const size_t most = all ? row : std::max({size_t(64), row / 6, share});
    return {most, most < row};
}

// The scale of a row: its mean symbol (a mean log magnitude, centre 0) or, for indices and integers, the mean distance
// from the symbol of zero.
inline uint16_t row_key(const EncodeKernels& kernels, const uint8_t* symbols, size_t n, uint8_t centre) {
    return uint16_t(symbol_distance(kernels, symbols, n, centre) * (RowScan::kKeys / 256) / n);
}

// Symbols of all of a small array, or of part of every row, and the scale of each row.
template <class Rows>
RowScan scan_rows(const Rows& rows, const Layout& layout, uint8_t centre, bool everything,
                  const EncodeKernels& kernels) {
    RowScan scan;
    const Probe probe = choose_probe(layout, everything);
    scan.sampled = probe.sampled;
    scan.key.resize(layout.rows);
    scan.probed.resize(layout.rows);
    scan.symbols.resize(layout.rows * std::min(probe.most, size_t(layout.row_length)) + 64);
    size_t at = 0;
    for (uint64_t r = 0; r < layout.rows; r++) {
        const size_t length = layout.length(r), n = probe.size(length);
        uint8_t* out = scan.symbols.data() + at;
        rows.symbols(r * layout.row_length + probe.begin(length), n, out);
        scan.key[r] = row_key(kernels, out, n, centre);
        scan.probed[r] = uint32_t(n);
        at += n;
    }
    scan.expansion = double(layout.count) / double(std::max<size_t>(1, at));
    return scan;
}

}  // namespace taut
