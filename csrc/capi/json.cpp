#include "capi/json.hpp"

namespace taut::capi {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Reader {
public:
    Reader(char* text, size_t size, Arena& arena, Fail& fail)
        : at_(text), begin_(text), end_(text + size), arena_(arena), fail_(fail) {}

    const Json* whole() {
        Json* found = value(0);
        if (!found) return nullptr;
        skip();
        return at_ == end_ ? found : bad("something follows it");
    }

private:
    char *at_, *begin_, *end_;
    Arena& arena_;
    Fail& fail_;

    Json* bad(const char* what) {
        fail_.format("not JSON: %s at byte %zu", what, size_t(at_ - begin_));
        return nullptr;
    }
    void skip() {
        while (at_ < end_ && is_space(*at_)) at_++;
    }
    Json* make(JsonKind kind) {
        Json* made = arena_.make<Json>(1);
        if (made)
            made->kind = kind;
        else
            fail_.memory();
        return made;
    }

    Json* value(int depth) {
        skip();
        if (at_ == end_) return bad("it ends early");
        switch (*at_) {
            case '{': return several(JsonKind::object, '}', depth + 1);
            case '[': return several(JsonKind::list, ']', depth + 1);
            case '"': return string();
            case 't': return word("true", JsonKind::boolean, true);
            case 'f': return word("false", JsonKind::boolean, false);
            case 'n': return word("null", JsonKind::null, false);
            default: return number();
        }
    }

    Json* word(const char* text, JsonKind kind, bool flag) {
        const size_t n = std::strlen(text);
        if (size_t(end_ - at_) < n || std::memcmp(at_, text, n) != 0) return bad("an unknown word");
        at_ += n;
        Json* made = make(kind);
        if (made) made->flag = flag;
        return made;
    }

    Json* number() {
        const char* from = at_;
        if (at_ < end_ && *at_ == '-') at_++;
        if (at_ == end_ || !is_digit(*at_)) return bad("no value");
        if (*at_ == '0')
            at_++;
        else
            digits();
        if (at_ < end_ && *at_ == '.') {
            at_++;
            if (!digits()) return bad("a number without a fraction");
        }
        if (at_ < end_ && (*at_ | 32) == 'e') {
            at_++;
            if (at_ < end_ && (*at_ == '+' || *at_ == '-')) at_++;
            if (!digits()) return bad("a number without an exponent");
        }
        Json* made = make(JsonKind::number);
        if (!made) return nullptr;
        made->data = from;
        made->count = uint32_t(at_ - from);
        return made;
    }
    bool digits() {
        const char* from = at_;
        while (at_ < end_ && is_digit(*at_)) at_++;
        return at_ != from;
    }

    Json* string() {
        Json* made = make(JsonKind::string);
        if (!made) return nullptr;
        at_++;
        Text found;
        if (!read_string(at_, end_, found, made->flag)) return bad("a broken string");
        made->data = found.data;
        made->count = uint32_t(found.size);
        return made;
    }

    Json* several(JsonKind kind, char close, int depth) {
        if (depth > kDeepest) return bad("nested too deeply");
        Json* made = make(kind);
        if (!made) return nullptr;
        at_++;
        skip();
        if (at_ < end_ && *at_ == close) {
            at_++;
            return made;
        }
        for (Json** link = &made->first;;) {
            if (kind == JsonKind::object) {
                skip();
                if (at_ == end_ || *at_ != '"') return bad("a key is no string");
                if (!(*link = string())) return nullptr;
                link = &(*link)->next;
                skip();
                if (at_ == end_ || *at_ != ':') return bad("a key without a value");
                at_++;
            }
            if (!(*link = value(depth))) return nullptr;
            link = &(*link)->next;
            made->count++;
            skip();
            if (at_ == end_ || (*at_ != ',' && *at_ != close)) return bad("a list that goes on strangely");
            if (*at_++ == close) break;
        }
        return kind == JsonKind::list || unique(*made) ? made : nullptr;
    }

    bool unique(const Json& object) {
        const size_t n = object.count;
        if (n < 2) return true;
        if (n <= 16) {
            for (const Json* a = object.first; a; a = a->next->next)
                for (const Json* b = a->next->next; b; b = b->next->next)
                    if (a->text() == b->text()) return bad("an object has the same key twice");
            return true;
        }
        Block memory(arena_.memory());
        if (n > SIZE_MAX / sizeof(Text) || !memory.resize(n * sizeof(Text))) return fail_.memory();
        auto* keys = reinterpret_cast<Text*>(memory.data());
        size_t at = 0;
        for (const Json* key = object.first; key; key = key->next->next) keys[at++] = key->text();
        return !any_twice(keys, n) || bad("an object has the same key twice");
    }
};

}  // namespace

const Json* Json::find(const char* key) const {
    for (const Json* k = first; k; k = k->next->next)
        if (k->text() == key) return k->next;
    return nullptr;
}

const Json* read_json(char* text, size_t size, Arena& arena, Fail& fail) {
    if (size > UINT32_MAX) {
        fail.format("JSON of more than 4 GB");
        return nullptr;
    }
    if (!is_utf8(text, size)) {
        fail.format("not JSON: no UTF-8");
        return nullptr;
    }
    return Reader(text, size, arena, fail).whole();
}

}  // namespace taut::capi
