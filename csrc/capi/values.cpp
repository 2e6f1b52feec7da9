// From places in the file to values. Every byte is checked before it is decoded; of a kept tensor, as it is copied.
#include <algorithm>

#include "capi/file.hpp"
#include "capi/threads.hpp"

namespace taut::capi {
namespace {

constexpr size_t kPiece = size_t(1) << 20;  // bytes of a kept tensor that are read at a time
constexpr char kMagic[] = {'L', 'C', 'A', '1'};

struct OpenArray {
    explicit OpenArray(Memory& memory) : reader(memory) {}
    ArrayReader reader;
    uint64_t chunks_begin = 0;  // byte of the file
};

bool damaged(const Place& place, size_t part, uint64_t begin, Fail& fail) {
    return fail.set(TAUT_ERROR_CHECKSUM, "chunk %zu (%llu bytes at offset %llu) does not match its checksum", part,
                    (unsigned long long)place.parts.data[part].bytes, (unsigned long long)begin);
}

// One part, checked: where it lies, or in `block`.
const uint8_t* checked_part(const taut_file& file, const Place& place, size_t number, uint64_t begin, Block& block, Fail& fail) {
    const Part& part = place.parts.data[number];
    if (part.bytes > SIZE_MAX / 2) return fail.memory(), nullptr;
    const uint8_t* data = file.source.bytes(begin, size_t(part.bytes), block, fail);
    if (data && place.pack == kNone && checksum(data, size_t(part.bytes)) != part.sum) return damaged(place, number, begin, fail), nullptr;
    return data;
}

bool are_zeros(const taut_file& file, uint64_t begin, uint64_t n, Fail& fail) {
    uint8_t zeros[8] = {};
    if (!file.source.read(begin, zeros, size_t(n), fail)) return false;
    for (uint8_t z : zeros)
        if (z) return fail.set(TAUT_ERROR_CHECKSUM, "the padding at offset %llu is not zero", (unsigned long long)begin);
    return true;
}

bool check_pack(taut_file& file, Pack& pack, Fail& fail) {
    if (pack.sound) return true;
    Block block(file.memory);
    Checksum sum;
    for (uint64_t at = 0; at < pack.bytes; at += kPiece) {
        const size_t n = size_t(std::min<uint64_t>(kPiece, pack.bytes - at));
        const uint8_t* data = file.source.bytes(pack.begin + at, n, block, fail);
        if (!data) return false;
        sum.add(data, n);
    }
    if (sum.value() != pack.checksum)
        return fail.set(TAUT_ERROR_CHECKSUM, "is in pack \"%.*s\" (%llu bytes at offset %llu), which does not match its checksum",
                        shown(pack.name), pack.name.data, (unsigned long long)pack.bytes, (unsigned long long)pack.begin);
    return (pack.sound = are_zeros(file, pack.begin + pack.bytes, pack.padding, fail));
}

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
        return fail.format("has %zu chunks, its array header says %llu", place.parts.size - 1, (unsigned long long)array.reader.chunks());
    array.chunks_begin = place.begin + size;
    return true;
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
    Chunks(taut_file& file, const Place& place, const OpenArray& array, uint64_t begin, uint64_t end, Sink& sink)
        : file_(file), place_(place), array_(array), begin_(begin), end_(end), sink_(sink), unit_(array.reader.chunk_bytes()) {}

    bool run(Fail& fail) {
        const uint64_t first = begin_ / unit_, last = (end_ - 1) / unit_;
        uint64_t at = array_.chunks_begin;
        for (uint64_t c = 0; c < first; c++) at += place_.parts.data[c + 1].bytes;
        const int threads = int(std::min<uint64_t>(uint64_t(file_.threads), last - first + 1));
        if (threads > 1 && sink_.direct) return run_on(threads, first, last, at, fail);
        Block bytes(file_.memory), values(file_.memory);
        for (uint64_t c = first; c <= last; c++) {
            const uint8_t* data = checked_part(file_, place_, size_t(c + 1), at, bytes, fail);
            if (!data || !put(c, data, values, fail)) return false;
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
    uint64_t unit_;

    bool put(uint64_t chunk, const uint8_t* data, Block& values, Fail& fail) {
        const ConstBytes bytes{data, size_t(place_.parts.data[chunk + 1].bytes)};
        const uint64_t from = chunk * unit_, to = std::min(from + unit_, array_.reader.bytes());
        if (sink_.direct && from >= begin_ && to <= end_)
            return array_.reader.decode(chunk, bytes, sink_.direct + (from - begin_), fail);
        if (!values.at_least(size_t(unit_))) return fail.memory();
        if (!array_.reader.decode(chunk, bytes, values.data(), fail)) return false;
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
                const bool good = data && (place_.pack != kNone || checksum(data, size_t(part.bytes)) == part.sum ||
                                           damaged(place_, size_t(chunk + 1), begin, mine)) && put(chunk, data, values, mine);
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

bool read_array(taut_file& file, const Place& place, const OpenArray& array, uint64_t begin, uint64_t end, Sink& sink, Fail& fail) {
    if (begin == end) return true;
    if (array.reader.is_constant()) return fill_constant(array, begin, end, sink, fail);
    return Chunks(file, place, array, begin, end, sink).run(fail);
}

// All of a kept tensor is checked, whatever is wanted of it.
bool read_kept(taut_file& file, const Place& place, uint64_t bytes, uint64_t begin, uint64_t end, Sink& sink, Fail& fail) {
    Block block(file.memory);
    Checksum sum;
    for (uint64_t at = 0; at < bytes; at += kPiece) {
        const uint64_t to = std::min<uint64_t>(at + kPiece, bytes), a = std::max(at, begin), b = std::min(to, end);
        const uint8_t* data;
        if (sink.direct && at >= begin && to <= end) {
            uint8_t* out = sink.direct + (at - begin);
            if (!file.source.read(place.begin + at, out, size_t(to - at), fail)) return false;
            data = out;
        } else {
            data = file.source.bytes(place.begin + at, size_t(to - at), block, fail);
            if (!data) return false;
            if (a < b && sink.direct) std::memcpy(sink.direct + (a - begin), data + (a - at), size_t(b - a));
            if (a < b && !sink.direct && !sink.take(data + (a - at), size_t(b - a), fail)) return false;
        }
        sum.add(data, size_t(to - at));
    }
    if (sum.value() == place.sum) return true;
    return fail.set(TAUT_ERROR_CHECKSUM, "%llu bytes at offset %llu do not match their checksum", (unsigned long long)bytes,
                    (unsigned long long)place.begin);
}

bool open_group(taut_file& file, uint32_t number, Fail& fail) {
    if (file.group_number == number) return true;
    const Group& group = file.contents.groups[number];
    OpenArray array(file.memory);
    if (!open_array(file, group.place, kAnySize, array, fail)) return false;
    const uint64_t bytes = array.reader.bytes();
    if (bytes > kGroup) return fail.format("a solid group of %llu bytes; at most 2^22", (unsigned long long)bytes);
    file.group_number = kNone;
    if (!file.group.resize(size_t(bytes))) return fail.memory();
    Into into(file.group.data());
    if (!read_array(file, group.place, array, 0, bytes, into, fail)) return false;
    file.group_number = number;
    file.group_bytes = size_t(bytes);
    return true;
}

bool read_solid(taut_file& file, const Record& r, uint64_t begin, uint64_t end, Sink& sink, Fail& fail) {
    if (!open_group(file, r.solid, fail)) return false;
    if (r.at + r.stored_bytes > file.group_bytes)
        return fail.format("ends at byte %llu of a solid group of %zu", (unsigned long long)(r.at + r.stored_bytes), file.group_bytes);
    if (begin == end) return true;
    const uint8_t* data = file.group.data() + r.at + begin;
    if (!sink.direct) return sink.take(data, size_t(end - begin), fail);
    std::memcpy(sink.direct, data, size_t(end - begin));
    return true;
}

// Values in another dtype, by way of the tensor's own.
class Converting final : public Sink {
public:
    Converting(const Dtype& stored, const Dtype& own, const Dtype& as, Sink& to) : stored_(stored), own_(own), as_(as), to_(to) {}
    bool take(const uint8_t* data, size_t n, Fail& fail) override {
        constexpr size_t batch = 512;
        uint8_t between[batch * 8], out[batch * 8];
        for (size_t left = n / stored_.width(); left > 0;) {
            const size_t k = std::min(left, batch);
            const uint8_t* own = data;
            if (&stored_ != &own_) convert(stored_, data, own_, between, k), own = between;
            uint8_t* made = to_.direct ? to_.direct : out;
            if (&own_ != &as_) convert(own_, own, as_, made, k);
            else std::memcpy(made, own, k * as_.width());
            if (to_.direct) to_.direct += k * as_.width();
            else if (!to_.take(out, k * as_.width(), fail)) return false;
            data += k * stored_.width();
            left -= k;
        }
        return true;
    }

private:
    const Dtype &stored_, &own_, &as_;
    Sink& to_;
};

}  // namespace

bool read_stored(taut_file& file, const Record& r, uint64_t begin, uint64_t end, Sink& sink, Fail& fail) {
    if (r.store == Store::solid) return read_solid(file, r, begin, end, sink, fail);
    if (r.store == Store::kept) return read_kept(file, r.place, r.stored_bytes, begin, end, sink, fail);
    OpenArray array(file.memory);
    return open_array(file, r.place, r.stored_bytes, array, fail) && read_array(file, r.place, array, begin, end, sink, fail);
}

bool read_place(taut_file& file, const Place& place, uint64_t bytes, Sink& sink, uint64_t& decoded, Fail& fail) {
    decoded = bytes;
    if (place.parts.size == 0) return read_kept(file, place, bytes, 0, bytes, sink, fail);
    OpenArray array(file.memory);
    if (!open_array(file, place, bytes, array, fail)) return false;
    decoded = array.reader.bytes();
    if (bytes == kAnySize && decoded > kGroup) return fail.format("a solid group of more than 2^22 bytes");
    return read_array(file, place, array, 0, decoded, sink, fail);
}

bool read_values(taut_file& file, const Record& record, uint64_t first, uint64_t count, const Dtype& as, Sink& sink, Fail& fail) {
    const Record& r = file.contents.records[record.target];
    if (r.stored->packed()) {  // bytes, each of several values
        return read_stored(file, r, first, first + count, sink, fail) || fail.within("tensor", r.name());
    }
    const size_t width = r.stored->width();
    const uint64_t begin = first * width, end = begin + count * width;
    if (r.stored == r.dtype && r.dtype == &as)
        return read_stored(file, r, begin, end, sink, fail) || fail.within("tensor", r.name());
    if ((r.stored != r.dtype && !can_convert(*r.stored, *r.dtype)) || (r.dtype != &as && !can_convert(*r.dtype, as)))
        return fail.set(TAUT_ERROR_UNSUPPORTED, "tensor \"%.*s\": %s cannot be given as %s", shown(r.name()), r.name().data,
                        r.dtype->name, as.name);
    Converting converting(*r.stored, *r.dtype, as, sink);
    return read_stored(file, r, begin, end, converting, fail) || fail.within("tensor", r.name());
}

}  // namespace taut::capi
