// The fields of a delta's header, written; libtaut only reads them (header.cpp).
#include "delta/delta.hpp"

namespace taut {

std::vector<uint8_t> write_delta_header(const ArrayHeader& h) {
    std::vector<uint8_t> out = begin_header(h);
    out.push_back(uint8_t(h.mode));
    out.push_back(uint8_t(int(h.delta.exclusive) | int(h.delta.sparse) << 1));
    if (h.delta.sparse) return out;
    out.push_back(h.delta.shift);
    const int64_t origin = h.delta.origin;
    put_varint(out, origin >= 0 ? 2 * uint64_t(origin) : 2 * uint64_t(-origin) - 1);
    for (const Vec<uint8_t>* scales : {&h.delta.rows, &h.delta.columns}) {
        const std::vector<uint8_t> stream = write_bytes({scales->begin(), scales->end()});
        put_varint(out, stream.size());
        out.insert(out.end(), stream.begin(), stream.end());
    }
    return out;
}

}  // namespace taut
