#include "capi/bases.hpp"

#include <algorithm>

namespace taut::capi {
namespace {

bool same_shape(const Record& a, const Record& b) {
    return a.dtype == b.dtype && a.dimensions == b.dimensions && std::equal(a.shape, a.shape + a.dimensions, b.shape);
}

bool other_base(Text name, const char* how, Fail& fail) {
    return fail.set(TAUT_ERROR_CHECKSUM, "the base has another \"%.*s\": its %s; give the one that the file was made with",
                    shown(name), name.data, how);
}

bool from_file(taut_file& base, const Record& r, Text name, Block& block, Fail& fail) {
    const uint32_t number = base.contents.find(name);
    if (number == kNone)
        return fail.set(TAUT_ERROR_ARGUMENT, "the base has no \"%.*s\"; give the one that the file was made with",
                        shown(name), name.data);
    const Record& found = base.contents.records[number];
    if (!same_shape(found, r)) return other_base(name, "dtype or shape is another", fail);
    Into into(block.data());
    const uint64_t count = r.dtype->packed() ? r.bytes : r.values;
    return read_values(base, found, {0, count}, *r.dtype, into, fail);
}

bool read_into(taut_file& file, const Record& r, Block& block, Fail& fail) {
    const Text name = r.base_name.size ? r.base_name : r.name();
    if (file.base_file) {
        if (!from_file(*file.base_file, r, name, block, fail)) return false;
    } else if (file.base.read) {
        const taut_base& base = file.base;
        if (base.read(base.context, name.data, name.size, r.dtype->name, r.shape, r.dimensions, block.data(), size_t(r.bytes)))
            return fail.set(TAUT_ERROR_ARGUMENT, "the base gave no \"%.*s\"", shown(name), name.data);
    } else {
        const Text from = file.contents.base;
        return fail.set(TAUT_ERROR_ARGUMENT, "is a delta, and its base \"%.*s\" was not given (taut_stand_on)", shown(from),
                        from.data);
    }
    if (checksum(block.data(), size_t(r.bytes)) == r.base_sum) return true;
    return other_base(name, "values do not match the checksum", fail);
}

// Differences to the base's values.
class Adding final : public Sink {
public:
    Adding(const Record& r, const uint8_t* base, const Dtype& as, Sink& to)
        : r_(r), base_(base), at_(base), wide_(dtype_of(r.dtype->number == Number::f64 ? Number::f64 : Number::f32)), as_(as), to_(to) {}
    void come_to(uint64_t byte) override { at_ = base_ + byte / r_.stored->width() * r_.dtype->width(); }
    bool take(const uint8_t* data, size_t n, Fail& fail) override {
        constexpr size_t batch = 512;
        alignas(8) uint8_t a[batch * 8], b[batch * 8], own[batch * 8], out[batch * 8];
        for (size_t left = n / r_.stored->width(); left > 0;) {
            const size_t k = std::min(left, batch);
            widen(*r_.stored, data, a, k);
            widen(*r_.dtype, at_, b, k);
            wide_.number == Number::f64 ? add<double>(a, b, k) : add<float>(a, b, k);
            narrow(wide_, a, *r_.dtype, own, k);
            uint8_t* const made = to_.direct ? to_.direct : out;
            narrow(*r_.dtype, own, as_, made, k);
            if (to_.direct)
                to_.direct += k * as_.width();
            else if (!to_.take(out, k * as_.width(), fail))
                return false;
            data += k * r_.stored->width();
            at_ += k * r_.dtype->width();
            left -= k;
        }
        return true;
    }

private:
    const Record& r_;
    const uint8_t *base_, *at_;
    const Dtype &wide_, &as_;
    Sink& to_;

    void widen(const Dtype& from, const uint8_t* data, uint8_t* to, size_t k) const { narrow(from, data, wide_, to, k); }
    static void narrow(const Dtype& from, const uint8_t* data, const Dtype& as, uint8_t* to, size_t k) {
        if (&from == &as)
            std::memcpy(to, data, k * as.width());
        else
            convert(from, data, as, to, k);
    }
    template <class T>
    static void add(uint8_t* a, const uint8_t* b, size_t k) {
        for (size_t i = 0; i < k; i++) {
            T x, y;
            std::memcpy(&x, a + i * sizeof x, sizeof x);
            std::memcpy(&y, b + i * sizeof y, sizeof y);
            x += y;
            std::memcpy(a + i * sizeof x, &x, sizeof x);
        }
    }
};

}  // namespace

bool stand_on(taut_file& file, taut_file* base, Fail& fail) {
    uint32_t depth = 0;
    for (const taut_file* at = base; at; at = at->base_file)
        if (at == &file || ++depth > kDeepestBase)
            return fail.set(TAUT_ERROR_ARGUMENT, "more than %u deltas stand on one another, or one on itself", kDeepestBase);
    file.base_file = base;
    file.base = {};
    file.group_number = kNone;  // it may have been decoded with another
    return true;
}

bool read_base(taut_file& file, const Record& r, Block& block, Fail& fail) {
    if (r.bytes > SIZE_MAX / 2 || !block.resize(size_t(r.bytes))) return fail.memory();
    return read_into(file, r, block, fail);
}

bool read_group_base(taut_file& file, uint32_t number, Block& block, Fail& fail) {
    const Group& group = file.contents.groups[number];
    if (!block.resize(size_t(group.members_end))) return fail.memory();
    Block one(file.memory);
    for (const Record& r : file.contents.records) {
        if (r.store != Store::solid || r.solid != number) continue;
        if (!read_base(file, r, one, fail)) return fail.within("tensor", r.name());
        if (r.bytes) std::memcpy(block.data() + r.at, one.data(), size_t(r.bytes));
    }
    return true;
}

bool read_sums(taut_file& file, const Record& r, const Wanted& wanted, const Dtype& as, Sink& sink, Fail& fail) {
    Block base(file.memory);
    const Dtype& wide = dtype_of(r.dtype->number == Number::f64 ? Number::f64 : Number::f32);
    for (const Dtype* from : {r.stored, r.dtype})
        if (from != &wide && !can_convert(*from, wide))
            return fail.set(TAUT_ERROR_UNSUPPORTED, "%s cannot be added to a base", from->name);
    if (r.dtype != &as && !can_convert(*r.dtype, as))
        return fail.set(TAUT_ERROR_UNSUPPORTED, "%s cannot be given as %s", r.dtype->name, as.name);
    if (!read_base(file, r, base, fail)) return false;
    Adding adding(r, base.data(), as, sink);
    return read_stored(file, r, wanted.times(r.stored->width()), adding, fail);
}

}  // namespace taut::capi
