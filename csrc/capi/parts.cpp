// The parts of coded arrays, as the index lists them.
#include "capi/contents.hpp"

#include <algorithm>

namespace taut::capi {

void PackParts::take(const uint8_t* data, size_t n) {
    while (n > 0 && place_) {
        const size_t some = size_t(std::min<uint64_t>(n, place_->parts.data[part_].bytes - done_));
        sum_.add(data, some);
        done_ += some;
        data += some;
        n -= some;
        end_parts();
    }
}

// What is complete gets its checksum, and the next part that is not empty begins.
void PackParts::end_parts() {
    while (place_ && done_ == place_->parts.data[part_].bytes) {
        place_->parts.data[part_].sum = sum_.value();
        sum_ = Checksum();
        done_ = 0;
        if (++part_ < place_->parts.size) continue;
        part_ = 0;
        place_ = place_->next;
    }
}

bool parse_parts(const Json& list, const char* where, Arena& arena, Parts& parts, Fail& fail) {
    if (!list.is(JsonKind::list) || list.count == 0) return fail.format("%s: no parts", where);
    Part* made = arena.make<Part>(list.count);
    if (!made) return fail.memory();
    for (const Json* pair = list.first; pair; pair = pair->next) {
        if (!pair->is(JsonKind::list) || pair->count != 2)
            return fail.format("%s: a part is not [length, checksum]", where);
        Part& part = made[parts.size++];
        if (!get_integer(*pair->first, "length", where, part.bytes, fail) ||
            !get_checksum(*pair->first->next, "checksum", where, part.sum, fail))
            return false;
        parts.bytes += part.bytes;
        if (parts.bytes > kLargest) return fail.format("%s: parts of more than 2^48 bytes", where);
    }
    parts.data = made;
    return true;
}

bool parse_lengths(const Json& list, const char* where, Arena& arena, Parts& parts, Fail& fail) {
    if (!list.is(JsonKind::list) || list.count == 0) return fail.format("%s: no parts", where);
    Part* made = arena.make<Part>(list.count);
    if (!made) return fail.memory();
    for (const Json* length = list.first; length; length = length->next) {
        if (!get_integer(*length, "length", where, made[parts.size].bytes, fail)) return false;
        parts.bytes += made[parts.size++].bytes;
        if (parts.bytes > kLargest) return fail.format("%s: parts of more than 2^48 bytes", where);
    }
    parts.data = made;
    return true;
}

}  // namespace taut::capi
