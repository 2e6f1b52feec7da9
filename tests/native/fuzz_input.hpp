// What the fuzzer feeds the decoder: an array header and chunks, each behind its length, as flat bytes.
//
//     u16 length | header | for each chunk: u32 length | bytes
//
// A length that claims too much takes what is left, so that any bytes at all are an input. A header that begins with
// `B` instead of a coded array's magic asks for a bare byte stream: `B`, u16 number of symbols; the stream is chunk 0.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace fuzz {

using Bytes = std::vector<uint8_t>;

constexpr size_t kMostChunks = 12;  // of one array; more are not decoded

struct Input {
    Bytes header;
    std::vector<Bytes> chunks;
};

inline void put_length(Bytes& out, uint64_t length, int bytes) {
    for (int i = 0; i < bytes; i++) out.push_back(uint8_t(length >> (8 * i)));
}

inline Bytes pack(const Input& in) {
    Bytes out;
    put_length(out, in.header.size(), 2);
    out.insert(out.end(), in.header.begin(), in.header.end());
    for (const Bytes& chunk : in.chunks) {
        put_length(out, chunk.size(), 4);
        out.insert(out.end(), chunk.begin(), chunk.end());
    }
    return out;
}

inline Bytes take(const uint8_t*& p, const uint8_t* end, int length_bytes) {
    size_t length = 0;
    for (int i = 0; i < length_bytes && p < end; i++) length |= size_t(*p++) << (8 * i);
    length = std::min(length, size_t(end - p));
    Bytes taken(p, p + length);
    p += length;
    return taken;
}

inline Input unpack(const uint8_t* data, size_t size) {
    Input in;
    const uint8_t *p = data, *end = data + size;
    in.header = take(p, end, 2);
    while (p < end) in.chunks.push_back(take(p, end, 4));
    return in;
}

}  // namespace fuzz
