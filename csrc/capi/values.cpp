// From places in the file to values. Every byte is checked before it is decoded; of a kept tensor, as it is copied.
#include <algorithm>

#include "capi/arrays.hpp"
#include "capi/bases.hpp"

namespace taut::capi {
namespace {

constexpr size_t kKeptPiece = size_t(1) << 20;  // bytes of a kept tensor that are read at a time

// All of a kept tensor is checked, whatever is wanted of it.
bool read_kept(taut_file& file, const Place& place, uint64_t bytes, const Wanted& wanted, Sink& sink, Fail& fail) {
    Block block(file.memory);
    Checksum sum;
    for (uint64_t at = 0; at < bytes; at += kKeptPiece) {
        const uint64_t to = std::min<uint64_t>(at + kKeptPiece, bytes);
        const uint8_t* data;
        if (sink.direct && at >= wanted.begin() && to <= wanted.end()) {
            uint8_t* out = sink.direct + (at - wanted.begin());
            if (!file.source.read(place.begin + at, out, size_t(to - at), fail)) return false;
            data = out;
        } else {
            data = file.source.bytes(place.begin + at, size_t(to - at), block, fail);
            if (!data || !hand_on(wanted, data, at, to, sink, fail)) return false;
        }
        sum.add(data, size_t(to - at));
    }
    if (sum.value() == place.sum) return true;
    return fail.set(TAUT_ERROR_CHECKSUM, "%llu bytes at offset %llu do not match their checksum",
                    (unsigned long long)bytes, (unsigned long long)place.begin);
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
    Block base(file.memory);
    if (group.base && !read_group_base(file, number, base, fail)) return false;
    if (group.base && group.members_end != bytes) return fail.format("decodes to another number of bytes than its base has");
    const uint8_t* const with = group.base ? base.data() : nullptr;
    if (!read_array(file, group.place, array, {0, bytes}, into, fail, Put::values, with)) return false;
    file.group_number = number;
    file.group_bytes = size_t(bytes);
    return true;
}

bool read_solid(taut_file& file, const Record& r, const Wanted& wanted, Sink& sink, Fail& fail) {
    if (!open_group(file, r.solid, fail)) return false;
    if (r.at + r.stored_bytes > file.group_bytes)
        return fail.format("ends at byte %llu of a solid group of %zu", (unsigned long long)(r.at + r.stored_bytes),
                           file.group_bytes);
    return hand_on(wanted, file.group.data() + r.at, 0, r.stored_bytes, sink, fail);
}

// Values in another dtype, by way of the tensor's own.
class Converting final : public Sink {
public:
    Converting(const Dtype& stored, const Dtype& own, const Dtype& as, Sink& to)
        : stored_(stored), own_(own), as_(as), to_(to) {}
    bool take(const uint8_t* data, size_t n, Fail& fail) override {
        constexpr size_t batch = 512;
        uint8_t between[batch * 8], out[batch * 8];
        for (size_t left = n / stored_.width(); left > 0;) {
            const size_t k = std::min(left, batch);
            const uint8_t* own = data;
            if (&stored_ != &own_) convert(stored_, data, own_, between, k), own = between;
            uint8_t* made = to_.direct ? to_.direct : out;
            if (&own_ != &as_)
                convert(own_, own, as_, made, k);
            else
                std::memcpy(made, own, k * as_.width());
            if (to_.direct)
                to_.direct += k * as_.width();
            else if (!to_.take(out, k * as_.width(), fail))
                return false;
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

bool hand_on(const Wanted& wanted, const uint8_t* data, uint64_t from, uint64_t to, Sink& sink, Fail& fail) {
    const uint64_t begin = from;
    for (uint64_t a, b; wanted.next(from, to, a, b); from = b) {
        const size_t n = size_t(b - a);
        if (sink.direct) {
            std::memcpy(sink.direct + (a - wanted.begin()), data + (a - begin), n);
            continue;
        }
        sink.come_to(a);
        if (!sink.take(data + (a - begin), n, fail)) return false;
    }
    return true;
}

bool read_stored(taut_file& file, const Record& r, const Wanted& wanted, Sink& sink, Fail& fail) {
    if (r.store == Store::solid) return read_solid(file, r, wanted, sink, fail);
    if (r.store == Store::kept) return read_kept(file, r.place, r.stored_bytes, wanted, sink, fail);
    Block base(file.memory);
    if ((r.store == Store::base || r.on_base == OnBase::delta) && !read_base(file, r, base, fail)) return false;
    if (r.store == Store::base) return hand_on(wanted, base.data(), 0, r.bytes, sink, fail);
    OpenArray array(file.memory);
    const uint8_t* const with = r.on_base == OnBase::delta ? base.data() : nullptr;
    return open_array(file, r.place, r.stored_bytes, array, fail) &&
           read_array(file, r.place, array, wanted, sink, fail, Put::values, with);
}

bool read_place(taut_file& file, const Place& place, uint64_t bytes, Sink& sink, uint64_t& decoded, Fail& fail,
                const uint8_t* base, uint64_t base_bytes) {
    decoded = bytes;
    if (place.parts.size == 0) return read_kept(file, place, bytes, {0, bytes}, sink, fail);
    OpenArray array(file.memory);
    if (!open_array(file, place, bytes, array, fail)) return false;
    decoded = array.reader.bytes();
    if (bytes == kAnySize && decoded > kGroup) return fail.format("a solid group of more than 2^22 bytes");
    if (base && base_bytes != decoded) return fail.format("decodes to another number of bytes than its base has");
    return read_array(file, place, array, {0, decoded}, sink, fail, Put::values, base);
}

bool read_values(taut_file& file, const Record& record, const Wanted& wanted, const Dtype& as, Sink& sink, Fail& fail) {
    const Record& r = file.contents.records[record.target];
    if (r.stored->packed()) {  // bytes, each of several values
        return read_stored(file, r, wanted, sink, fail) || fail.within("tensor", r.name());
    }
    if (r.on_base == OnBase::sum) return read_sums(file, r, wanted, as, sink, fail) || fail.within("tensor", r.name());
    const Wanted stored = wanted.times(r.stored->width() * (r.is_pairs() ? 2 : 1));
    if (r.stored == r.dtype && r.dtype == &as)
        return read_stored(file, r, stored, sink, fail) || fail.within("tensor", r.name());
    if (r.is_pairs() && &as == r.dtype && can_convert(*r.stored, dtype_of(Number::f32))) {
        const Dtype& f32 = dtype_of(Number::f32);
        Converting converting(*r.stored, f32, f32, sink);
        return read_stored(file, r, stored, converting, fail) || fail.within("tensor", r.name());
    }
    if ((r.stored != r.dtype && !can_convert(*r.stored, *r.dtype)) || (r.dtype != &as && !can_convert(*r.dtype, as)))
        return fail.set(TAUT_ERROR_UNSUPPORTED, "tensor \"%.*s\": %s cannot be given as %s", shown(r.name()),
                        r.name().data, r.dtype->name, as.name);
    Converting converting(*r.stored, *r.dtype, as, sink);
    return read_stored(file, r, stored, converting, fail) || fail.within("tensor", r.name());
}

}  // namespace taut::capi
