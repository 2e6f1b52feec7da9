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

bool fill_constant(const OpenArray& array, uint64_t begin, uint64_t end, Sink& sink, Fail& fail) {
    if (sink.direct) return array.reader.fill(begin, end, sink.direct), true;
    uint8_t values[4096];
    for (uint64_t at = begin; at < end;) {
        const uint64_t to = std::min<uint64_t>(end, at + sizeof values);
        array.reader.fill(at, to, values);
        if (!sink.take(values, size_t(to - at), fail)) return false;
        at = to;
    }
    return true;
}

// Chunks of one array, of which bytes begin .. end are wanted.
class Chunks {
public:
    Chunks(taut_file& file, const Place& place, const OpenArray& array, uint64_t begin, uint64_t end, Sink& sink,
           Put put, const uint8_t* base)
        : file_(file),
          place_(place),
          array_(array),
          begin_(begin),
          end_(end),
          sink_(sink),
          put_(put),
          base_(base),
          width_(put == Put::values ? array.reader.header().width : sizeof(int32_t)),
          unit_(array.reader.chunk_values() * width_) {}

    bool run(Fail& fail) {
        const uint64_t first = begin_ / unit_, last = (end_ - 1) / unit_;
        uint64_t at = array_.chunks_begin;
        for (uint64_t c = 0; c < first; c++) at += place_.parts.data[c + 1].bytes;
        const int threads = int(std::min<uint64_t>(uint64_t(file_.threads), last - first + 1));
        if (threads > 1 && sink_.direct) return run_on(threads, first, last, at, fail);
        Block bytes(file_.memory), values(file_.memory);
        Vec<uint8_t> scratch(file_.memory);
        for (uint64_t c = first; c <= last; c++) {
            const uint8_t* data = checked_part(file_, place_, size_t(c + 1), at, bytes, fail);
            if (!data || !put(c, data, values, scratch, fail)) return false;
            at += place_.parts.data[c + 1].bytes;
        }
        return true;
    }

private:
    taut_file& file_;
    const Place& place_;
    const OpenArray& array_;
    uint64_t begin_, end_;
    Sink& sink_;
    Put put_;
    const uint8_t* base_;
    uint64_t width_, unit_;

    bool put(uint64_t chunk, const uint8_t* data, Block& values, Vec<uint8_t>& scratch, Fail& fail) {
        const ConstBytes bytes{data, size_t(place_.parts.data[chunk + 1].bytes)};
        const uint64_t from = chunk * unit_, to = std::min(from + unit_, array_.reader.header().count * width_);
        const uint8_t* const base = base_ ? base_ + from : nullptr;
        if (sink_.direct && from >= begin_ && to <= end_)
            return array_.reader.decode(chunk, bytes, sink_.direct + (from - begin_), scratch, put_, fail,
                                        base);
        if (!values.at_least(size_t(unit_))) return fail.memory();
        if (!array_.reader.decode(chunk, bytes, values.data(), scratch, put_, fail, base)) return false;
        const uint64_t a = std::max(from, begin_), b = std::min(to, end_);
        if (!sink_.direct) return sink_.take(values.data() + (a - from), size_t(b - a), fail);
        std::memcpy(sink_.direct + (a - begin_), values.data() + (a - from), size_t(b - a));
        return true;
    }

    // Each thread takes the next chunk, reads it while no other reads, checks it and decodes it.
    bool run_on(int threads, uint64_t first, uint64_t last, uint64_t at, Fail& fail) {
        Lock reading;
        uint64_t next = first;
        bool failed = false;
        const auto work = [&] {
            Block bytes(file_.memory), values(file_.memory);
            Vec<uint8_t> scratch(file_.memory);
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
                                  put(chunk, data, values, scratch, mine);
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

bool read_array(taut_file& file, const Place& place, const OpenArray& array, uint64_t begin, uint64_t end, Sink& sink,
                Fail& fail, Put put, const uint8_t* base) {
    if (begin == end) return true;
    if (array.reader.is_constant()) return fill_constant(array, begin, end, sink, fail);
    return Chunks(file, place, array, begin, end, sink, put, base).run(fail);
}

}  // namespace taut::capi
