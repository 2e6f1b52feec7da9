// The fields of a delta's header behind those that all arrays have.
#include "delta/delta.hpp"
#include "delta/rules.hpp"

namespace taut {
namespace {

constexpr int64_t kFarthest = 1 << 16;  // of an origin from 0

Status read_scales(ByteReader& in, uint64_t count, Vec<uint8_t>& scales) {
    const uint64_t size = in.varint();
    const uint8_t* data = in.take(size);
    TAUT_TRY(in.status());
    return read_bytes(data, size_t(size), count, scales);
}

}  // namespace

Status read_delta_fields(ByteReader& in, ArrayHeader& h) {
    const uint8_t mode = in.byte(), form = in.byte();
    TAUT_TRY(in.status());
    TAUT_REQUIRE(mode <= 2 && form <= 3, "delta: unknown mode or form");
    TAUT_REQUIRE(h.count > 0, "delta: of no values");
    h.mode = Mode(mode);
    h.delta.exclusive = form & 1;
    h.delta.sparse = form & 2;
    if (h.delta.sparse) {
        TAUT_REQUIRE(!in.left(), "delta: bytes left over in the header");
        return {};
    }
    h.delta.shift = in.byte();
    const uint64_t origin = in.varint();
    TAUT_TRY(in.status());
    TAUT_REQUIRE(h.delta.shift < 8 * h.width, "delta: the exponents begin outside the values");
    TAUT_REQUIRE(origin <= 2 * uint64_t(kFarthest), "delta: the origin of its classes is too far");
    h.delta.origin = origin & 1 ? -int64_t(origin / 2) - 1 : int64_t(origin / 2);
    TAUT_TRY(read_scales(in, h.row_count(), h.delta.rows));
    TAUT_TRY(read_scales(in, h.row_length, h.delta.columns));
    TAUT_REQUIRE(!in.left(), "delta: bytes left over in the header");
    return {};
}

}  // namespace taut
