// Checks every byte of a file, and then the decoded values as well.
#include "capi/bases.hpp"

namespace taut::capi {
namespace {

class Verifier {
public:
    Verifier(taut_file& file, Fail& fail) : file_(file), c_(file.contents), fail_(fail), sums_(file.memory), base_(file.memory) {}

    bool run() {
        if (!sums_.resize(size_t(c_.packed) * sizeof(uint64_t))) return fail_.memory();
        for (const Group& group : c_.groups) {
            uint64_t decoded;
            const uint32_t number = uint32_t(&group - c_.groups.data);
            if (group.base && !read_group_base(file_, number, base_, fail_)) return false;
            if (!check(group.place, kAnySize, decoded, group.base ? base_.data() : nullptr, group.members_end))
                return fail_.within("solid group", group.place.name);
            if (decoded < group.members_end)
                return fail_.format("solid group \"%.*s\": has fewer bytes than its tensors", shown(group.place.name),
                                    group.place.name.data);
        }
        for (const Record& r : c_.records) {
            uint64_t decoded;
            if (r.store == Store::solid || r.store == Store::alias) continue;
            const bool based = r.store == Store::base || r.on_base != OnBase::none;
            if (based && !read_base(file_, r, base_, fail_)) return fail_.within("tensor", r.name());
            if (r.store == Store::base) continue;
            const uint8_t* const base = r.on_base == OnBase::delta ? base_.data() : nullptr;
            if (!check(r.place, r.stored_bytes, decoded, base, r.bytes)) return fail_.within("tensor", r.name());
        }
        for (const Pack& pack : c_.packs)
            if (!check_sums(pack)) return false;
        return true;
    }

private:
    taut_file& file_;
    const Contents& c_;
    Fail& fail_;
    Block sums_;  // of what the members of packs decode to
    Block base_;  // what a delta is decoded with

    uint64_t& sum_of(const Pack& pack, uint32_t member) {
        return reinterpret_cast<uint64_t*>(sums_.data())[pack.first_member + member];
    }

    bool check(const Place& place, uint64_t bytes, uint64_t& decoded, const uint8_t* base, uint64_t base_bytes) {
        Hashing hashing;
        if (!read_place(file_, place, bytes, hashing, decoded, fail_, base, base_bytes)) return false;
        const uint64_t sum = hashing.sum.value();
        if (place.pack != kNone)
            sum_of(c_.packs[place.pack], place.member) = sum;
        else if (sum != place.sum)
            return fail_.set(TAUT_ERROR_CHECKSUM,
                             "decodes to values that do not match their checksum, although its parts match theirs");
        return true;
    }

    bool check_sums(const Pack& pack) {
        Checksum sum;
        for (uint32_t i = 0; i < pack.members; i++) {
            char digits[16];
            put_digits(sum_of(pack, i), digits);
            sum.add(reinterpret_cast<const uint8_t*>(digits), sizeof digits);
        }
        if (sum.value() == pack.sum) return true;
        return fail_.set(TAUT_ERROR_CHECKSUM,
                         "one of the tensors of pack \"%.*s\" decodes to values that do not match their checksum",
                         shown(pack.name), pack.name.data);
    }
};

}  // namespace

bool verify(taut_file& file, Fail& fail) { return Verifier(file, fail).run(); }

}  // namespace taut::capi
