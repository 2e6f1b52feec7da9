// One chunk of a delta, once it is known how differences are put.
#pragma once
#include <algorithm>

#include "delta/delta.hpp"
#include "delta/differences.hpp"

namespace taut {

template <class T>
class DeltaChunk {
public:
    // `seen` begins with the chunk's rows, of which `first` is the number of the first.
    DeltaChunk(const ArrayHeader& h, const EncodeOptions& options, const Differences<T>& seen, uint64_t first)
        : h_(h), options_(options), seen_(seen), first_(first), last_(std::min(first + h.chunk_rows, h.row_count())) {}

    std::vector<uint8_t> run() const { return h_.delta.sparse ? places() : classes(); }

private:
    const ArrayHeader& h_;
    const EncodeOptions& options_;
    const Differences<T>& seen_;
    uint64_t first_, last_;

    std::vector<uint8_t> classes() const {
        const Classes<T> classes(h_);
        std::vector<std::vector<uint8_t>> of(kDeltaClasses);
        BitWriter raw;
        for (uint64_t r = first_; r < last_; r++) {
            const uint8_t row = h_.delta.rows[r];
            if (row == kUntouched) continue;
            const size_t n = size_t(std::min(h_.row_length, h_.count - r * h_.row_length));
            for (size_t j = 0; j < n; j++) {
                const uint8_t column = h_.delta.columns[j];
                if (column == kUntouched) continue;
                const uint64_t i = (r - first_) * h_.row_length + j;
                uint64_t m;
                const uint8_t s = seen_.symbol(i, h_.delta.exclusive, m);
                of[classes.of(seen_.base_at(i), row + column)].push_back(s);
                put_lowest(raw, m, seen_.raw_bits(s, h_.delta.exclusive));
            }
        }
        std::vector<uint8_t> symbols;
        for (const auto& some : of) symbols.insert(symbols.end(), some.begin(), some.end());
        std::vector<uint8_t> out;
        if (symbols.empty()) return out;
        put_symbols(out, symbols);
        append(out, raw.finish());
        return out;
    }
    static void put_lowest(BitWriter& raw, uint64_t m, int bits) {
        if (bits > 32) {
            raw.put(m & 0xffffffff, 32);
            m >>= 32;
            bits -= 32;
        }
        if (bits) raw.put(m & ((uint64_t(1) << bits) - 1), bits);
    }

    std::vector<uint8_t> places() const {
        std::vector<uint8_t> gaps, found, out;
        BitWriter raw;
        uint64_t gap = 0;
        const uint64_t begin = first_ * h_.row_length, end = std::min(h_.count, last_ * h_.row_length);
        for (uint64_t i = 0; i < end - begin; i++, gap++) {
            uint64_t m;
            const uint8_t s = seen_.symbol(i, h_.delta.exclusive, m);
            if (!s) continue;
            gaps.push_back(uint8_t(Gaps::symbol(gap)));
            found.push_back(s);
            put_lowest(raw, gap, Gaps::raw_bits(Gaps::symbol(gap)));
            put_lowest(raw, m, seen_.raw_bits(s, h_.delta.exclusive));
            gap = uint64_t(0) - 1;
        }
        if (found.empty()) return out;
        put_varint(out, found.size());
        put_symbols(out, gaps);
        put_symbols(out, found);
        append(out, raw.finish());
        return out;
    }

    static void append(std::vector<uint8_t>& out, const std::vector<uint8_t>& bytes) {
        out.insert(out.end(), bytes.begin(), bytes.end());
    }

    void put_symbols(std::vector<uint8_t>& out, const std::vector<uint8_t>& symbols) const {
        EncodeOptions options;
        // Four lanes take fewer bytes, and decode a third as fast.
        const size_t few = h_.delta.sparse ? 1 << 18 : options_.max_effort ? 1 << 16 : 1 << 14;
        options.max_effort = options_.max_effort || h_.delta.sparse;
        options.few_lanes = symbols.size() < few;
        options.row_length = std::clamp<uint64_t>(symbols.size() / 512, 64, 4096);
        const Encoded coded = encode_split(symbols.data(), symbols.size(), 1, Mode::unsigned_, 0, options);
        put_varint(out, coded.header.size());
        append(out, coded.header);
        for (const auto& part : coded.chunks) {
            put_varint(out, part.size());
            append(out, part);
        }
    }
};

}  // namespace taut
