// The rows of an index: one tensor each, with a kind that many share; version 1 has an object for each.
#include <cmath>
#include <cstdio>

#include "capi/contents.hpp"

namespace taut::capi {
namespace {

constexpr int64_t kLevels = 30000;
constexpr const char* kStores[] = {"coded", "packed", "kept", "solid", "alias", "base"};
using Keys = const char* const*;

// Of version 1: what an object must have, and may.
constexpr const char* kCodedKeys[] = {"name", "dtype", "shape", "scheme", "store", "sum", "parts", nullptr};
constexpr const char* kKeptKeys[] = {"name", "dtype", "shape", "scheme", "store", "sum", nullptr};
constexpr const char* kSolidKeys[] = {"name", "dtype", "shape", "scheme", "store", "solid", "at", nullptr};
constexpr const char* kAliasKeys[] = {"name", "dtype", "shape", "scheme", "store", "of", nullptr};
constexpr const char* kMayBe[] = {"as", "rel_mse", nullptr};
constexpr const char* kMayBeTied[] = {"tied", "rel_mse", nullptr};
// Of a kind.
constexpr const char* kKind[] = {"dtype", "scheme", "store", nullptr};
constexpr const char* kPackedKind[] = {"dtype", "scheme", "store", "pack", nullptr};
constexpr const char* kSolidKind[] = {"dtype", "scheme", "store", "solid", nullptr};
constexpr const char* kAs[] = {"as", nullptr};
constexpr const char* kAsOnBase[] = {"as", "base", nullptr};
constexpr const char* kTied[] = {"tied", nullptr};
constexpr const char* kNoParts[] = {nullptr};

// What a record is made of, wherever it stands.
struct Fields {
    const Json *name, *dtype, *shape, *scheme, *as, *tied, *pack, *solid, *at, *sum, *parts, *of, *error, *base, *based;
    Store store;
};

bool find_store(const Json& object, const char* where, Store& store, Fail& fail) {
    const Json* value = object.find("store");
    Text name;
    if (!value) return fail.format("%s: no \"store\"", where);
    if (!get_text(*value, "store", where, name, fail)) return false;
    for (int i = 0; i < 6; i++)
        if (name == kStores[i]) {
            store = Store(i);
            return true;
        }
    return fail.format("%s: unknown store \"%.*s\"", where, shown(name), name.data);
}

class Rows {
public:
    Rows(int version, Arena& arena, Contents& found, Fail& fail)
        : version_(version), arena_(arena), found_(found), fail_(fail) {}

    bool run(const Json& tree) {
        const Json* rows = need(tree, "tensors", JsonKind::list, "index", fail_);
        if (!rows) return false;
        const Json* kinds = version_ == 2 ? need(tree, "kinds", JsonKind::list, "index", fail_) : nullptr;
        if (version_ == 2 && (!kinds || !take_kinds(*kinds))) return false;
        if (rows->count >= kNone) return fail_.format("index: too many tensors");
        ends_ = arena_.make<uint64_t>(found_.groups.size);
        if (!ends_) return fail_.memory();
        for (const Json* row = rows->first; row; row = row->next) {
            Fields f{};
            if (!(version_ == 2 ? from_row(*row, f) : from_object(*row, f)) || !take(f)) return false;
        }
        return true;
    }

private:
    int version_;
    Arena& arena_;
    Contents& found_;
    Fail& fail_;
    const Json** kinds_ = nullptr;
    Store* stores_ = nullptr;
    size_t kind_count_ = 0;
    uint64_t* ends_ = nullptr;  // of the members of each solid group so far

    bool take_kinds(const Json& list) {
        kinds_ = arena_.make<const Json*>(list.count);
        stores_ = arena_.make<Store>(list.count);
        if (!kinds_ || !stores_) return fail_.memory();
        for (const Json* kind = list.first; kind; kind = kind->next) {
            constexpr const char* where = "index: kind";
            if (!kind->is(JsonKind::object)) return fail_.format("%s: is not a JSON object", where);
            Store store;
            if (!find_store(*kind, where, store, fail_)) return false;
            const Keys needed = store == Store::packed ? kPackedKind : store == Store::solid ? kSolidKind : kKind;
            if (!check_keys(*kind, needed, optional_of(store), where, fail_)) return false;
            stores_[kind_count_] = store;
            kinds_[kind_count_++] = kind;
        }
        return true;
    }

    static Keys optional_of(Store store) {
        switch (store) {
            case Store::alias: return kTied;
            case Store::kept: return kAs;
            case Store::base: return kNoParts;
            default: return kAsOnBase;
        }
    }

    bool from_object(const Json& object, Fields& f) {
        constexpr const char* where = "index: tensor";
        if (!object.is(JsonKind::object)) return fail_.format("%s: is not a JSON object", where);
        if (!find_store(object, where, f.store, fail_)) return false;
        if (f.store == Store::packed || f.store == Store::base)
            return fail_.format("%s: unknown store \"%s\"", where, kStores[int(f.store)]);
        const Keys needed = f.store == Store::coded   ? kCodedKeys
                            : f.store == Store::kept  ? kKeptKeys
                            : f.store == Store::solid ? kSolidKeys
                                                      : kAliasKeys;
        if (!check_keys(object, needed, f.store == Store::alias ? kMayBeTied : kMayBe, where, fail_)) return false;
        f.name = object.find("name");
        f.dtype = object.find("dtype");
        f.shape = object.find("shape");
        f.scheme = object.find("scheme");
        f.as = object.find("as");
        f.tied = object.find("tied");
        f.solid = object.find("solid");
        f.at = object.find("at");
        f.sum = object.find("sum");
        f.parts = object.find("parts");
        f.of = object.find("of");
        f.error = object.find("rel_mse");
        return true;
    }

    bool from_row(const Json& row, Fields& f) {
        constexpr const char* where = "index: tensor";
        if (!row.is(JsonKind::list) || row.count == 0) return fail_.format("%s: is not a list", where);
        uint64_t number;
        if (!get_integer(*row.first, "kind", where, number, fail_)) return false;
        if (number >= kind_count_) return fail_.format("%s: is of a kind that is not there", where);
        const Json& kind = *kinds_[number];
        f.store = stores_[number];
        f.base = kind.find("base");
        const bool based = f.base || f.store == Store::base;
        const bool none = f.store == Store::solid || f.store == Store::base;
        const uint32_t own = (f.store == Store::coded ? 2 : none ? 0 : 1) + uint32_t(based);
        if (row.count != 3 + own && row.count != 4 + own) return fail_.format("%s: has %u values", where, row.count);
        f.name = row.first->next;
        f.shape = f.name->next;
        const Json* next = f.shape->next;
        if (based) f.based = next, next = next->next;
        if (f.store == Store::coded || f.store == Store::kept) f.sum = next, next = next->next;
        if (f.store == Store::coded || f.store == Store::packed) f.parts = next, next = next->next;
        if (f.store == Store::alias) f.of = next, next = next->next;
        f.error = next;
        f.dtype = kind.find("dtype");
        f.scheme = kind.find("scheme");
        f.as = kind.find("as");
        f.tied = kind.find("tied");
        f.pack = kind.find("pack");
        f.solid = kind.find("solid");
        return true;
    }

    bool get_dtype(const Json& value, const char* key, const char* where, const Dtype*& found) {
        Text name;
        if (!get_text(value, key, where, name, fail_)) return false;
        found = find_dtype(name);
        return found || fail_.format("%s: unknown dtype \"%.*s\"", where, shown(name), name.data);
    }

    bool get_error(const Json& value, const char* where, double& found) {
        if (version_ == 1 || !is_whole(value)) return get_number(value, "rel_mse", where, found, fail_);
        int64_t level;
        if (!as_signed(value, level) || level > kLevels || level < -kLevels)
            return fail_.format("%s: \"rel_mse\" is not a level within -30000 .. 30000", where);
        found = std::pow(10.0, double(-level) / 100);
        return std::isfinite(found) || fail_.format("%s: \"rel_mse\" is not a finite number", where);
    }

    bool take(const Fields& f) {
        Record r{};
        char where[200];
        Text name;
        if (!get_text(*f.name, "name", "index: tensor", name, fail_)) return false;
        if (!arena_.copy(name, r.place.name)) return fail_.memory();
        std::snprintf(where, sizeof where, "index: tensor \"%.*s\"", shown(name), name.data);
        r.store = f.store;
        r.target = uint32_t(found_.records.size);
        if (!get_dtype(*f.dtype, "dtype", where, r.dtype)) return false;
        r.stored = r.dtype;
        if (f.as && !get_dtype(*f.as, "as", where, r.stored)) return false;
        Text scheme;
        if (!get_text(*f.scheme, "scheme", where, scheme, fail_)) return false;
        if (!arena_.copy(scheme, r.scheme)) return fail_.memory();
        if (f.tied && !f.tied->is(JsonKind::boolean)) return fail_.format("%s: tied is not true or false", where);
        r.tied = f.tied && f.tied->flag;
        if (!take_shape(*f.shape, where, r)) return false;
        if (f.sum && !get_checksum(*f.sum, "sum", where, r.place.sum, fail_)) return false;
        if (f.parts && !take_parts(*f.parts, where, r)) return false;
        if (f.of && !get_text(*f.of, "of", where, r.of, fail_)) return false;
        if (f.error && !get_error(*f.error, where, r.error)) return false;
        if (f.based && !take_base(f, where, r)) return false;
        if (!take_numbers(f, where, r)) return false;
        return found_.records.push(arena_, r) || fail_.memory();
    }

    // Which tensor of the base is needed, and how.
    bool take_base(const Fields& f, const char* where, Record& r) {
        Text how{"", 0};
        if (f.base && !get_text(*f.base, "base", where, how, fail_)) return false;
        const Json* sum = f.based;
        if (sum->is(JsonKind::list)) {
            Text name;
            if (sum->count != 2) return fail_.format("%s: its base is not a checksum, or [checksum, name]", where);
            sum = sum->first;
            if (!get_text(*sum->next, "name", where, name, fail_)) return false;
            if (!arena_.copy(name, r.base_name)) return fail_.memory();
        }
        if (!get_checksum(*sum, "base_sum", where, r.base_sum, fail_)) return false;
        if (!f.base) return true;
        if (!(how == "delta") && !(how == "sum")) return fail_.format("%s: unknown base", where);
        r.on_base = how == "delta" ? OnBase::delta : OnBase::sum;
        if (r.on_base == OnBase::delta && r.stored != r.dtype)
            return fail_.format("%s: is a delta that is stored as %s", where, r.stored->name);
        const Number n = r.dtype->number;
        const bool floats = n == Number::f64 || n == Number::f32 || n == Number::f16 || n == Number::bf16;
        return r.on_base == OnBase::delta || floats || fail_.format("%s: %s is not added to a base", where, r.dtype->name);
    }

    bool take_shape(const Json& list, const char* where, Record& r) {
        if (!list.is(JsonKind::list)) return fail_.format("%s: \"shape\" is not a list", where);
        if (list.count > kMaxDimensions)
            return fail_.format("%s: %u dimensions, at most %u", where, list.count, kMaxDimensions);
        uint64_t* shape = arena_.make<uint64_t>(list.count);
        if (!shape) return fail_.memory();
        for (const Json* n = list.first; n; n = n->next)
            if (!get_integer(*n, "dimension", where, shape[r.dimensions++], fail_)) return false;
        r.shape = r.stored_shape = shape;
        r.stored_dimensions = r.dimensions;
        if (r.dtype->number == Number::c64 && r.stored != r.dtype && !take_pairs(r)) return false;
        uint64_t values;
        if (!tensor_size(*r.stored, r.stored_shape, r.stored_dimensions, r.stored_bytes, values, fail_) ||
            !tensor_size(*r.dtype, shape, r.dimensions, r.bytes, r.values, fail_))
            return fail_.within("index: tensor", r.name());
        if (r.bytes > kLargest || r.stored_bytes > kLargest) return fail_.format("%s: more than 2^48 bytes", where);
        if (r.stored != r.dtype && (r.stored->packed() || r.dtype->packed()))
            return fail_.format("%s: %s cannot be cast to %s", where, r.stored->name, r.dtype->name);
        return true;
    }

    // Complex numbers that lie as real and imaginary parts in turn.
    bool take_pairs(Record& r) {
        const uint32_t n = r.dimensions ? r.dimensions : 1;
        uint64_t* pairs = arena_.make<uint64_t>(n);
        if (!pairs) return fail_.memory();
        pairs[0] = 1;
        for (uint32_t i = 0; i < r.dimensions; i++) pairs[i] = r.shape[i];
        pairs[n - 1] *= 2;
        r.stored_shape = pairs;
        r.stored_dimensions = n;
        return true;
    }

    bool take_parts(const Json& list, const char* where, Record& r) {
        return (r.store == Store::packed ? parse_lengths : parse_parts)(list, where, arena_, r.place.parts, fail_);
    }

    bool take_numbers(const Fields& f, const char* where, Record& r) {
        uint64_t pack = kNone, solid = 0;
        if (f.pack) {
            if (!get_integer(*f.pack, "pack", where, pack, fail_)) return false;
            if (pack >= found_.packs.size) return fail_.format("%s: is in a pack that is not there", where);
        }
        r.place.pack = uint32_t(pack);
        if (r.store != Store::solid) return true;
        if (!get_integer(*f.solid, "solid", where, solid, fail_)) return false;
        if (solid >= found_.groups.size) return fail_.format("%s: is in a solid group that is not there", where);
        r.solid = uint32_t(solid);
        uint64_t& end = ends_[solid];
        if (f.at) {
            if (!get_integer(*f.at, "at", where, r.at, fail_)) return false;
        } else {
            r.at = end;
            end += r.stored_bytes;
        }
        if (r.stored_bytes > kGroup || r.at > kGroup - r.stored_bytes || r.at % r.stored->width())
            return fail_.format("%s: byte %llu of a solid group is no place for it", where, (unsigned long long)r.at);
        Group& group = found_.groups[solid];
        if (group.base != (r.on_base == OnBase::delta))
            return fail_.format("%s: is a delta, or its solid group is, but not both", where);
        if (group.dtype != r.stored)
            return fail_.format("%s: is %s, its solid group %s", where, r.stored->name, group.dtype->name);
        if (group.members_end < r.at + r.stored_bytes) group.members_end = r.at + r.stored_bytes;
        return true;
    }
};

}  // namespace

bool parse_rows(const Json& tree, int version, Arena& arena, Contents& found, Fail& fail) {
    return Rows(version, arena, found, fail).run(tree);
}

}  // namespace taut::capi
