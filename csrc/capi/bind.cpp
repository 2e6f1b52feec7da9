// The index against the header: each tensor gets its place, each entry belongs to one thing.
#include <algorithm>

#include "capi/contents.hpp"

namespace taut::capi {
namespace {

class Binder {
public:
    Binder(Contents& contents, Entries& entries, uint64_t body, uint64_t rest, ConstBytes behind, Arena& arena, Fail& fail)
        : c_(contents), entries_(entries), body_(body), rest_(rest), behind_(behind), arena_(arena), fail_(fail) {}

    bool run() {
        if (!sort_names() || !bind_packs()) return false;
        for (Group& group : c_.groups)
            if (group.place.pack == kNone && !take_blob(group.place))
                return fail_.within("solid group", group.place.name);
        if (!group_names()) return false;
        for (Record& r : c_.records)
            if (!bind_record(r)) return fail_.within("tensor", r.name());
        for (Record& r : c_.records)
            if (r.store == Store::alias && !bind_alias(r)) return fail_.within("tensor", r.name());
        for (const Entry& e : entries_.all)
            if (!e.taken)
                return fail_.format("entry \"%.*s\" is in the header, not in the index", shown(e.name), e.name.data);
        return true;
    }

private:
    Contents& c_;
    Entries& entries_;
    uint64_t body_, rest_;
    ConstBytes behind_;
    Arena& arena_;
    Fail& fail_;

    bool sort_names() {
        const size_t n = c_.records.size;
        c_.by_name = arena_.make<uint32_t>(n);
        if (!c_.by_name) return fail_.memory();
        for (size_t i = 0; i < n; i++) c_.by_name[i] = uint32_t(i);
        std::sort(c_.by_name, c_.by_name + n,
                  [&](uint32_t a, uint32_t b) { return compare(c_.records[a].name(), c_.records[b].name()) < 0; });
        for (size_t i = 1; i < n; i++) {
            const Text name = c_.records[c_.by_name[i]].name();
            if (c_.records[c_.by_name[i - 1]].name() == name)
                return fail_.format("tensor \"%.*s\": is in the index twice", shown(name), name.data);
        }
        return true;
    }

    // No two groups have one name, nor a group that of a tensor with a place of its own.
    bool group_names() {
        Text* names = arena_.make<Text>(c_.groups.size);
        if (!names) return fail_.memory();
        for (size_t i = 0; i < c_.groups.size; i++) {
            names[i] = c_.groups[i].place.name;
            const uint32_t record = c_.find(names[i]);
            const Store store = record == kNone ? Store::alias : c_.records[record].store;
            if (store != Store::solid && store != Store::alias && store != Store::base)
                return fail_.format("tensor \"%.*s\": has the name of a solid group", shown(names[i]), names[i].data);
        }
        return !any_twice(names, c_.groups.size) || fail_.format("two solid groups have the same name");
    }

    Entry* take(Text name) {
        Entry* entry = entries_.find(name);
        if (!entry || entry->taken) return fail_.format("has no entry in the header (or it is another's)"), nullptr;
        entry->taken = true;
        return entry;
    }

    // The entry of a blob of so many bytes, and the zeros behind them.
    bool take_blob(Text name, uint64_t bytes, uint64_t& begin, uint64_t& padding) {
        const Entry* entry = take(name);
        if (!entry) return false;
        if (entry->dtype->number != Number::u8 || entry->dimensions != 1)
            return fail_.format("is coded, but not bytes in the header");
        begin = entry->begin;
        padding = (8 - (begin - body_ + bytes) % 8) % 8;
        return bytes + padding == entry->bytes() ||
               fail_.format("its parts of %llu bytes do not fill its %llu bytes at offset %llu",
                            (unsigned long long)bytes, (unsigned long long)entry->bytes(), (unsigned long long)begin);
    }
    bool take_blob(Place& place) { return take_blob(place.name, place.parts.bytes, place.begin, place.padding); }

    // Members follow one another in their pack: groups first, then tensors.
    bool bind_packs() {
        const auto each = [&](auto&& act) {
            for (Group& g : c_.groups)
                if (g.place.pack != kNone) act(g.place, c_.packs[g.place.pack]);
            for (Record& r : c_.records)
                if (r.store == Store::packed) act(r.place, c_.packs[r.place.pack]);
        };
        each([](Place& place, Pack& pack) {
            pack.bytes = std::min(pack.bytes + place.parts.bytes, 2 * kLargest);
            place.member = pack.members++;
            (pack.last ? pack.last->next : pack.first) = &place;
            pack.last = &place;
        });
        uint32_t inside = 0;
        for (Pack& pack : c_.packs) {
            pack.first_member = c_.packed;
            c_.packed += pack.members;
            if (pack.named) {
                if (!take_blob(pack.name, pack.bytes, pack.begin, pack.padding)) return fail_.within("pack", pack.name);
                continue;
            }
            inside++;
            pack.begin = rest_;
            pack.sound = true;  // the checksum of the index covers it
            if (pack.bytes != behind_.size || pack.bytes > kInside)
                return fail_.format("index: the members of a pack have %llu bytes, after the index there are %llu",
                                    (unsigned long long)pack.bytes, (unsigned long long)behind_.size);
            PackParts(pack).take(behind_.data, behind_.size);
        }
        if (inside > 1 || (behind_.size && !inside))
            return fail_.format("index: %llu bytes after the end of the stream, for %u packs",
                                (unsigned long long)behind_.size, inside);
        uint64_t* at = arena_.make<uint64_t>(c_.packs.size);
        if (!at) return fail_.memory();
        each([&](Place& place, Pack& pack) {
            uint64_t& offset = at[&pack - c_.packs.data];
            place.begin = pack.begin + offset;
            offset += place.parts.bytes;
        });
        return true;
    }

    bool bind_record(Record& r) {
        if (r.store == Store::coded) return take_blob(r.place);
        if (r.store != Store::kept) return true;
        const Entry* entry = take(r.name());
        if (!entry) return false;
        if (entry->dtype != r.stored || entry->dimensions != r.stored_dimensions ||
            !std::equal(r.stored_shape, r.stored_shape + r.stored_dimensions, entry->shape))
            return fail_.format("has another dtype or shape in the index than in the header");
        r.place.begin = entry->begin;
        return true;
    }

    bool bind_alias(Record& r) {
        r.target = c_.find(r.of);
        if (r.target == kNone || c_.records[r.target].store == Store::alias)
            return fail_.format("\"%.*s\" carries no data for it", shown(r.of), r.of.data);
        const Record& target = c_.records[r.target];
        if (target.dtype != r.dtype || target.dimensions != r.dimensions ||
            !std::equal(r.shape, r.shape + r.dimensions, target.shape))
            return fail_.format("differs in dtype or shape from \"%.*s\", which it repeats", shown(r.of), r.of.data);
        return true;
    }
};

}  // namespace

uint32_t Contents::find(Text name) const {
    const uint32_t* end = by_name + records.size;
    const uint32_t* at = std::lower_bound(static_cast<const uint32_t*>(by_name), end, name,
                                          [&](uint32_t i, Text n) { return compare(records[i].name(), n) < 0; });
    return at != end && records[*at].name() == name ? *at : kNone;
}

bool bind(Contents& contents, Entries& entries, uint64_t body, uint64_t rest, ConstBytes behind, Arena& arena, Fail& fail) {
    return Binder(contents, entries, body, rest, behind, arena, fail).run();
}

}  // namespace taut::capi
