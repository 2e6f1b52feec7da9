// What all headers begin with.
#include "array/array.hpp"

namespace taut {

ArrayHeader::ArrayHeader(Memory& memory)
    : rows(memory), tables(memory), matrix(memory), adaptive(memory), records(memory), delta(memory) {}
ArrayHeader::ArrayHeader(ArrayHeader&&) noexcept = default;
ArrayHeader& ArrayHeader::operator=(ArrayHeader&&) noexcept = default;
ArrayHeader::~ArrayHeader() = default;

namespace {

constexpr char kMagic[4] = {'L', 'C', 'A', '1'};

// A row's length must not overflow anything that is computed from it later.
Status check_geometry(const ArrayHeader& h) {
    TAUT_REQUIRE(h.width == 1 || h.width == 2 || h.width == 4 || h.width == 8, "width is not 1, 2, 4 or 8");
    TAUT_REQUIRE(h.count <= (uint64_t(1) << 56), "more than 2^56 values");
    TAUT_REQUIRE(h.row_length >= 1 && h.chunk_rows >= 1, "empty rows or chunks");
    TAUT_REQUIRE(h.row_length <= kMaxChunkValues && h.chunk_rows <= kMaxChunkValues &&
                     h.row_length * h.chunk_rows <= kMaxChunkValues,
                 "a chunk of more than 2^22 values");
    return {};
}

}  // namespace

std::vector<uint8_t> begin_header(const ArrayHeader& h) {
    std::vector<uint8_t> out(kMagic, kMagic + 4);
    out.push_back(uint8_t(h.kind));
    out.push_back(h.width);
    put_varint(out, h.count);
    put_varint(out, h.row_length);
    put_varint(out, h.chunk_rows);
    return out;
}

Status read_geometry(ByteReader& in, ArrayHeader& h) {
    const uint8_t* magic = in.take(4);
    TAUT_REQUIRE(magic && std::memcmp(magic, kMagic, 4) == 0, "array header: not a coded array of version 1");
    const uint8_t kind = in.byte();
    TAUT_REQUIRE(kind <= uint8_t(Kind::delta), "array header: unknown kind");
    h.kind = Kind(kind);
    h.width = in.byte();
    h.count = in.varint();
    h.row_length = in.varint();
    h.chunk_rows = in.varint();
    TAUT_TRY(in.status());
    return check_geometry(h);
}

}  // namespace taut
