// Coded arrays where they lie in the file: their parts, checked before they are decoded.
#include "capi/arrays.hpp"

#include <algorithm>

#include "capi/threads.hpp"

namespace taut::capi {
namespace {

constexpr size_t kPiece = size_t(1) << 20;  // bytes of a pack that are read at a time
constexpr char kMagic[] = {'L', 'C', 'A', '1'};

bool damaged(const Place& place, size_t part, uint64_t begin, Fail& fail) {
    return fail.set(TAUT_ERROR_CHECKSUM, "chunk %zu (%llu bytes at offset %llu) does not match its checksum", part,
                    (unsigned long long)place.parts.data[part].bytes, (unsigned long long)begin);
}

// One part, checked: where it lies, or in `block`.
const uint8_t* checked_part(const taut_file& file, const Place& place, size_t number, uint64_t begin, Block& block,
                            Fail& fail) {
    const Part& part = place.parts.data[number];
    if (part.bytes > SIZE_MAX / 2) return fail.memory(), nullptr;
    const uint8_t* data = file.source.bytes(begin, size_t(part.bytes), block, fail);
    if (data && checksum(data, size_t(part.bytes)) != part.sum)
        return damaged(place, number, begin, fail), nullptr;
    return data;
}

bool are_zeros(const taut_file& file, uint64_t begin, uint64_t n, Fail& fail) {
    uint8_t zeros[8] = {};
    if (!file.source.read(begin, zeros, size_t(n), fail)) return false;
    for (uint8_t z : zeros)
        if (z)
            return fail.set(TAUT_ERROR_CHECKSUM, "the padding at offset %llu is not zero", (unsigned long long)begin);
    return true;
}

bool check_pack(taut_file& file, Pack& pack, Fail& fail) {
    if (pack.sound) return true;
    Block block(file.memory);
    Checksum sum;
    PackParts parts(pack);
    for (uint64_t at = 0; at < pack.bytes; at += kPiece) {
        const size_t n = size_t(std::min<uint64_t>(kPiece, pack.bytes - at));
        const uint8_t* data = file.source.bytes(pack.begin + at, n, block, fail);
        if (!data) return false;
        sum.add(data, n);
        parts.take(data, n);
    }
    if (sum.value() != pack.checksum)
        return fail.set(
            TAUT_ERROR_CHECKSUM, "is in pack \"%.*s\" (%llu bytes at offset %llu), which does not match its checksum",
            shown(pack.name), pack.name.data, (unsigned long long)pack.bytes, (unsigned long long)pack.begin);
    return (pack.sound = are_zeros(file, pack.begin + pack.bytes, pack.padding, fail));
}

bool fill_constant(const OpenArray& array, const Wanted& wanted, Sink& sink, Fail& fail) {
    if (sink.direct) return array.reader.fill(wanted.begin(), wanted.end(), sink.direct), true;
    uint8_t values[4096];
    for (uint64_t at = wanted.begin(), a, b; wanted.next(at, wanted.end(), a, b); at = b) {
        b = std::min<uint64_t>(b, a + sizeof values);
        array.reader.fill(a, b, values);
        if (!hand_on(wanted, values, a, b, sink, fail)) return false;
    }
    return true;
}

// Chunks of one array, of which some bytes are wanted.
class Chunks {
public:
    Chunks(taut_file& file, const Place& place, const OpenArray& array, const Wanted& wanted, Sink& sink, Put put,
           const uint8_t* base)
        : file_(file),
          place_(place),
          array_(array),
          wanted_(wanted),
          sink_(sink),
          put_(put),
          base_(base),
          width_(put == Put::values ? array.reader.header().width : sizeof(int32_t)),
          unit_(array.reader.chunk_values() * width_) {}

    bool run(Fail& fail) {
        const uint64_t first = wanted_.begin() / unit_, last = (wanted_.end() - 1) / unit_;
        uint64_t at = array_.chunks_begin;
        for (uint64_t c = 0; c < first; c++) at += place_.parts.data[c + 1].bytes;
        const int threads = int(std::min<uint64_t>(uint64_t(file_.threads), last - first + 1));
        if (threads > 1 && sink_.direct) return run_on(threads, first, last, at, fail);
        Block bytes(file_.memory);
        Scratch scratch(file_.memory);
        for (uint64_t c = first, a, b; c <= last; at += place_.parts.data[++c].bytes) {
            if (!wanted_.next(c * unit_, (c + 1) * unit_, a, b)) continue;
            const uint8_t* data = checked_part(file_, place_, size_t(c + 1), at, bytes, fail);
            if (!data || !put(c, data, scratch, fail)) return false;
        }
        return true;
    }

private:
    taut_file& file_;
    const Place& place_;
    const OpenArray& array_;
    const Wanted& wanted_;
    Sink& sink_;
    Put put_;
    const uint8_t* base_;
    uint64_t width_, unit_;

    // What a thread needs for its chunks.
    struct Scratch {
        explicit Scratch(Memory& memory) : values(memory), rows(memory), symbols(memory) {}
        Block values, rows;
        Vec<uint8_t> symbols;
    };

    bool put(uint64_t chunk, const uint8_t* data, Scratch& scratch, Fail& fail) {
        const ConstBytes bytes{data, size_t(place_.parts.data[chunk + 1].bytes)};
        const uint64_t from = chunk * unit_, to = std::min(from + unit_, array_.reader.header().count * width_);
        const uint8_t* const base = base_ ? base_ + from : nullptr;
        if (sink_.direct && from >= wanted_.begin() && to <= wanted_.end())
            return array_.reader.decode(chunk, bytes, sink_.direct + (from - wanted_.begin()), scratch.symbols, put_, fail,
                                        base);
        Block& values = scratch.values;
        const uint8_t* rows = nullptr;
        if (!values.at_least(size_t(unit_)) || !mark(from, to, scratch.rows, rows)) return fail.memory();
        return array_.reader.decode(chunk, bytes, values.data(), scratch.symbols, put_, fail, base, rows) &&
               hand_on(wanted_, values.data(), from, to, sink_, fail);
    }

    // Marks the rows of a matrix' chunk, bytes from .. to, that hold something wanted.
    bool mark(uint64_t from, uint64_t to, Block& rows, const uint8_t*& marked) const {
        const ArrayHeader& h = array_.reader.header();
        if (h.kind != Kind::matrix) return true;
        if (!rows.at_least(size_t(h.chunk_rows))) return false;
        const uint64_t row = h.row_length * width_, begin = from;
        marked = rows.data();
        std::memset(rows.data(), 0, rows.size());
        for (uint64_t a, b; wanted_.next(from, to, a, b); from = b) {
            const uint64_t first = (a - begin) / row, last = (b - 1 - begin) / row;
            std::memset(rows.data() + first, 1, size_t(last - first + 1));
        }
        return true;
    }

    // Each thread takes the next chunk, reads it while no other reads, checks it and decodes it.
    bool run_on(int threads, uint64_t first, uint64_t last, uint64_t at, Fail& fail) {
        Lock reading;
        uint64_t next = first;
        bool failed = false;
        const auto work = [&] {
            Block bytes(file_.memory);
            Scratch scratch(file_.memory);
            Fail mine;
            for (;;) {
                uint64_t chunk, begin;
                const uint8_t* data;
                {
                    Held held(reading);
                    if (failed || next > last) return;
                    chunk = next++;
                    begin = at;
                    const Part& part = place_.parts.data[chunk + 1];
                    at += part.bytes;
                    data = file_.source.bytes(begin, size_t(part.bytes), bytes, mine);
                }
                const Part& part = place_.parts.data[chunk + 1];
                const bool good = data &&
                                  (checksum(data, size_t(part.bytes)) == part.sum ||
                                   damaged(place_, size_t(chunk + 1), begin, mine)) &&
                                  put(chunk, data, scratch, mine);
                if (good) continue;
                Held held(reading);
                if (!failed) fail = mine;
                failed = true;
                return;
            }
        };
        on_threads(threads, work);
        return !failed;
    }
};

}  // namespace

bool open_array(taut_file& file, const Place& place, uint64_t bytes, OpenArray& array, Fail& fail) {
    const bool packed = place.pack != kNone;
    if (packed && !check_pack(file, file.contents.packs[place.pack], fail)) return false;
    if (!are_zeros(file, place.begin + place.parts.bytes, place.padding, fail)) return false;
    Block block(file.memory), whole(file.memory);
    const uint64_t size = place.parts.data[0].bytes;
    const uint8_t* header = checked_part(file, place, 0, place.begin, block, fail);
    if (!header) return false;
    if (packed) {  // whose headers lie without how they all begin
        if (!whole.resize(size_t(size) + sizeof kMagic)) return fail.memory();
        std::memcpy(whole.data(), kMagic, sizeof kMagic);
        if (size) std::memcpy(whole.data() + sizeof kMagic, header, size_t(size));
    }
    const ConstBytes found = packed ? ConstBytes{whole.data(), whole.size()} : ConstBytes{header, size_t(size)};
    if (!array.reader.open(found, bytes, fail)) return false;
    if (array.reader.chunks() != place.parts.size - 1)
        return fail.format("has %zu chunks, its array header says %llu", place.parts.size - 1,
                           (unsigned long long)array.reader.chunks());
    array.chunks_begin = place.begin + size;
    return true;
}

bool read_array(taut_file& file, const Place& place, const OpenArray& array, const Wanted& wanted, Sink& sink, Fail& fail,
                Put put, const uint8_t* base) {
    if (wanted.empty()) return true;
    if (array.reader.is_constant()) return fill_constant(array, wanted, sink, fail);
    return Chunks(file, place, array, wanted, sink, put, base).run(fail);
}

}  // namespace taut::capi
