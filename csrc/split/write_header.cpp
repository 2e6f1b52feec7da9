// Headers of split and uniform arrays, and of those that have nothing to code, to bytes.
#include "split/split.hpp"

namespace taut {

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
    if (!h.rows.empty()) rows = write_bytes({h.rows.begin(), h.rows.end()});
    put_varint(out, rows.size());
    out.insert(out.end(), rows.begin(), rows.end());
    BitWriter bits;
    for (const Table& t : h.tables) write_table(bits, t);
    const auto tables = bits.finish();
    out.insert(out.end(), tables.begin(), tables.end());
    return out;
}

}  // namespace taut
