#include "capi/entries.hpp"

#include <algorithm>

#include "capi/json.hpp"

namespace taut::capi {
namespace {

constexpr size_t kLongestList = 4096;  // bytes of a shape

// Reads the one legal form of the header, left to right, once: nothing nests.
class Scanner {
public:
    Scanner(char* json, size_t length, uint64_t body, Arena& arena, Entries& found, Fail& fail)
        : begin_(json), at_(json), end_(json + length), body_(body), arena_(arena), found_(found), fail_(fail) {}

    bool run() {
        bool metadata = false;
        if (at_ == end_ || *at_ != '{') return bad("must begin with {");
        at_++;
        if (peek() == '}')
            at_++;
        else
            for (char next = ','; next == ',';) {
                Text name;
                if (!string(name) || !take(':')) return false;
                if (name == "__metadata__") {
                    if (metadata) return bad("__metadata__ comes twice");
                    metadata = true;
                    if (!strings()) return false;
                } else if (!entry(name)) {
                    return false;
                }
                next = peek();
                if (next != ',' && next != '}') return bad("expected , or }");
                at_++;
            }
        return peek() == 0 && at_ == end_ ? true : bad("nothing may follow the closing brace");
    }

private:
    char *begin_, *at_, *end_;
    uint64_t body_;
    Arena& arena_;
    Entries& found_;
    Fail& fail_;

    bool bad(const char* what) { return fail_.format("header, near byte %zu: %s", size_t(at_ - begin_), what); }
    bool bad(Text name, const char* what) {
        return fail_.format("header: tensor \"%.*s\": %s", shown(name), name.data, what);
    }

    // The next byte that is not white space, 0 at the end; moves up to it.
    char peek() {
        while (at_ < end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) at_++;
        return at_ < end_ ? *at_ : char(0);
    }
    bool take(char wanted) {
        if (peek() != wanted || at_ == end_) return bad("a mark is missing");
        at_++;
        return true;
    }
    bool string(Text& found) {
        if (peek() != '"') return bad("expected a string");
        at_++;
        bool lone;
        if (!read_string(at_, end_, found, lone) || lone) return bad("a string is not valid");
        return true;
    }

    // The metadata, whose keys are unique and whose values are strings.
    bool strings() {
        if (!take('{')) return false;
        if (peek() == '}') return at_++, true;
        List<Text> keys;
        for (;;) {
            Text key, value;
            if (!string(key) || !take(':') || !string(value)) return false;
            if (!keys.push(arena_, key)) return fail_.memory();
            const char next = peek();
            if (next != ',' && next != '}') return bad("expected , or }");
            at_++;
            if (next == '}') break;
        }
        return !any_twice(keys.data, keys.size) || bad("a key of __metadata__ comes twice");
    }

    bool word(Text& found) {  // a string as it is, of letters, digits and _
        if (peek() != '"') return bad("expected a string");
        const char* from = ++at_;
        while (at_ < end_ && ((*at_ >= '0' && *at_ <= '9') || (*at_ >= 'A' && *at_ <= 'Z') ||
                              (*at_ >= 'a' && *at_ <= 'z') || *at_ == '_'))
            at_++;
        found = {from, size_t(at_ - from)};
        if (at_ == end_ || *at_ != '"' || found.size == 0 || found.size > 40) return bad("expected a plain word");
        at_++;
        return true;
    }

    bool numbers(uint64_t* found, size_t most, uint32_t& count, Text name) {
        count = 0;
        if (!take('[')) return false;
        const char* from = at_;
        if (peek() == ']') return at_++, true;
        for (;;) {
            const char c = peek();
            if (c < '0' || c > '9') return bad(name, "a list of something else than whole numbers");
            uint64_t value = 0;
            const char* first = at_;
            while (at_ < end_ && *at_ >= '0' && *at_ <= '9' && at_ - first < 20)
                value = value * 10 + uint64_t(*at_++ - '0');
            if (at_ - first > 19 || (*first == '0' && at_ - first > 1) || value > kMaxNumber)
                return bad(name, "a number that is not a whole one in 0..2^63-1");
            if (count == most) return bad(name, "a list of too many numbers");
            found[count++] = value;
            const char next = peek();
            if (size_t(at_ - from) > kLongestList || (next != ',' && next != ']'))
                return bad(name, "a list that goes on strangely");
            at_++;
            if (next == ']') return true;
        }
    }

    bool entry(Text name) {
        uint64_t shape[kMaxDimensions], offsets[2], bytes, values;
        uint32_t dimensions = 0, ends = 0, seen = 0;
        Text dtype;
        if (!take('{')) return false;
        for (int i = 0; i < 3; i++) {
            Text key;
            if (!word(key) || !take(':')) return false;
            const uint32_t which = key == "dtype" ? 1 : key == "shape" ? 2 : key == "data_offsets" ? 4 : 0;
            if (!which || seen & which) return bad(name, "wants exactly dtype, shape and data_offsets");
            seen |= which;
            if (which == 1   ? !word(dtype)
                : which == 2 ? !numbers(shape, kMaxDimensions, dimensions, name)
                             : !numbers(offsets, 2, ends, name))
                return false;
            if (!take(i < 2 ? ',' : '}')) return bad(name, "wants exactly dtype, shape and data_offsets");
        }
        const Dtype* type = find_dtype(dtype);
        if (!type) return bad(name, "unknown dtype");
        if (ends != 2 || offsets[0] > offsets[1]) return bad(name, "data_offsets must be [start, stop]");
        if (!tensor_size(*type, shape, dimensions, bytes, values, fail_)) return fail_.within("header: tensor", name);
        if (offsets[1] - offsets[0] != bytes) return bad(name, "data_offsets do not fit dtype and shape");
        if (offsets[1] > kMaxNumber - body_) return bad(name, "ends beyond the file");
        uint64_t* kept = arena_.make<uint64_t>(dimensions);
        if (!kept) return fail_.memory();
        std::copy(shape, shape + dimensions, kept);
        const Entry made{name, type, kept, dimensions, false, body_ + offsets[0], body_ + offsets[1]};
        return found_.all.push(arena_, made) || fail_.memory();
    }
};

bool sort_by_name(Arena& arena, Entries& found, Fail& fail) {
    const List<Entry>& all = found.all;
    found.by_name = arena.make<uint32_t>(all.size);
    if (!found.by_name) return fail.memory();
    for (size_t i = 0; i < all.size; i++) found.by_name[i] = uint32_t(i);
    std::sort(found.by_name, found.by_name + all.size,
              [&](uint32_t a, uint32_t b) { return compare(all[a].name, all[b].name) < 0; });
    for (size_t i = 1; i < all.size; i++) {
        const Text name = all[found.by_name[i]].name;
        if (all[found.by_name[i - 1]].name == name)
            return fail.format("header: the name \"%.*s\" comes twice", shown(name), name.data);
    }
    return true;
}

}  // namespace

Entry* Entries::find(Text name) {
    const uint32_t* end = by_name + all.size;
    const uint32_t* at = std::lower_bound(static_cast<const uint32_t*>(by_name), end, name,
                                          [&](uint32_t i, Text n) { return compare(all[i].name, n) < 0; });
    return at != end && all[*at].name == name ? &all[*at] : nullptr;
}

bool read_entries(char* json, size_t length, uint64_t body, uint64_t size, Arena& arena, Entries& found, Fail& fail) {
    if (!is_utf8(json, length)) return fail.format("header: no UTF-8");
    if (!Scanner(json, length, body, arena, found, fail).run()) return false;
    if (found.all.size > UINT32_MAX) return fail.format("header: too many entries");
    // Those of the same place are empty, but for one: it is the last. They stay in the order of the header.
    for (size_t i = 0; i < found.all.size; i++) found.all[i].taken = false;
    std::sort(found.all.begin(), found.all.end(), [](const Entry& a, const Entry& b) {
        return a.begin != b.begin ? a.begin < b.begin : a.end != b.end ? a.end < b.end : a.name.data < b.name.data;
    });
    uint64_t end = body;
    for (const Entry& e : found.all) {
        if (e.begin != end)
            return fail.format("header: tensor \"%.*s\" overlaps or leaves a hole before it", shown(e.name),
                               e.name.data);
        end = e.end;
    }
    if (end != size && size != kAnyBody)
        return fail.format("header: the tensors end at byte %llu, the file at %llu: it is cut short or damaged",
                           (unsigned long long)end, (unsigned long long)size);
    return sort_by_name(arena, found, fail);
}

}  // namespace taut::capi
