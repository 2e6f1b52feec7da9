// The files of an ONNX model (docs/format.md, "ONNX"): their bytes with holes where tensors go.
#include <cstdio>

#include "capi/file.hpp"
#include "capi/inflate.hpp"

namespace taut::capi {

struct Hole {
    uint64_t begin, end;
    uint32_t tensor;  // number of the record
    bool varint;
    uint8_t key;  // the byte before each number; 0: none
};

namespace {

constexpr uint64_t kMostFiles = 1 << 16, kRoom = 262144, kLiteral = (uint64_t(1) << 30) + kRoom;

// The path without needless parts; none if it leads out of its folder.
bool plain_path(Text name, Arena& arena, Text& plain) {
    char* made = arena.make<char>(name.size + 1);
    if (!made) return false;
    size_t n = 0;
    for (size_t at = 0; at < name.size;) {
        size_t end = at;
        while (end < name.size && name.data[end] != '/') end++;
        const Text part{name.data + at, end - at};
        at = end + 1;
        if (part.size == 0 || part == ".") continue;
        if (n) made[n++] = '/';
        std::memcpy(made + n, part.data, part.size);
        n += part.size;
    }
    plain = {made, n};
    return true;
}

bool is_inside(Text name) {
    if (name.size == 0 || name.data[0] == '/') return false;
    bool named = false;
    for (size_t at = 0; at <= name.size;) {
        size_t end = at;
        while (end < name.size && name.data[end] != '/') end++;
        const Text part{name.data + at, end - at};
        at = end + 1;
        if (part == "..") return false;
        named |= part.size && !(part == ".");
    }
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] == '\\' || name.data[i] == ':' || name.data[i] == 0) return false;
    return named;
}

class Recipes {
public:
    Recipes(taut_file& file, const Record& graph, Fail& fail)
        : file_(file), graph_(graph), arena_(file.originals_arena), fail_(fail) {}

    bool run() {
        if (graph_.dtype->number != Number::u8 || graph_.dimensions != 1)
            return fail_.format("the ONNX graph is no tensor of bytes");
        if (graph_.bytes > SIZE_MAX / 2) return fail_.memory();
        Inflated found;
        if (!inflate_graph(found)) return false;
        char* text = reinterpret_cast<char*>(file_.graph.data());
        auto* line = static_cast<char*>(std::memchr(text, '\n', found.size));
        if (!line) return bad("has no list of files");
        Arena trees(file_.memory);
        const Json* tree = read_json(text, size_t(line - text), trees, fail_);
        if (!tree) return fail_.within("the ONNX graph");
        const Json* files = tree->is(JsonKind::object) ? tree->find("files") : nullptr;
        if (!files || !files->is(JsonKind::list) || files->count == 0 || files->count > kMostFiles)
            return bad("has no list of files");
        filled_ = trees.make<bool>(file_.contents.records.size);
        if (!filled_) return fail_.memory();
        at_ = line + 1;
        left_ = found.size - size_t(at_ - text);
        for (const Json* item = files->first; item; item = item->next)
            if (!take_file(*item)) return false;
        return left_ == 0 || bad("its files do not add up");
    }

private:
    taut_file& file_;
    const Record& graph_;
    Arena& arena_;
    Fail& fail_;
    bool* filled_ = nullptr;
    const char* at_ = nullptr;
    size_t left_ = 0;

    bool bad(const char* what) { return fail_.format("the ONNX graph %s", what); }

    bool inflate_graph(Inflated& found) {
        Block packed(file_.memory);
        if (!packed.resize(size_t(graph_.bytes))) return fail_.memory();
        Into into(packed.data());
        if (!read_values(file_, graph_, {0, graph_.values}, *graph_.dtype, into, fail_)) return false;
        const uint64_t may = kRoom + 100 * graph_.bytes;
        const Text stream{reinterpret_cast<const char*>(packed.data()), packed.size()};
        if (!inflate(stream, {}, may < kLiteral ? may : kLiteral, file_.graph, found, fail_))
            return fail_.within("the ONNX graph");
        return found.used == packed.size() || bad("has bytes behind its stream");
    }

    bool take_file(const Json& item) {
        constexpr const char* const keys[] = {"name", "bytes", "holes", nullptr};
        constexpr const char* const none[] = {nullptr};
        constexpr const char* where = "the ONNX graph: a file";
        Original made{};
        made.kind = Original::onnx;
        Text name;
        if (!item.is(JsonKind::object) || !check_keys(item, keys, none, where, fail_))
            return bad("has a file without its keys");
        if (!get_text(*item.find("name"), "name", where, name, fail_) ||
            !get_integer(*item.find("bytes"), "bytes", where, made.bytes, fail_))
            return false;
        if (!is_inside(name)) return bad("names a path that leads out of the model's folder");
        if (!plain_path(name, arena_, made.name)) return fail_.memory();
        const Json* list = item.find("holes");
        if (!list->is(JsonKind::list)) return bad("has no list of holes");
        auto* holes = arena_.make<Hole>(list->count);
        if (!holes) return fail_.memory();
        uint64_t end = 0, length = made.bytes;
        for (const Json* one = list->first; one; one = one->next) {
            Hole& hole = holes[made.hole_count++];
            if (!take_hole(*one, hole) || hole.begin < end || hole.end < hole.begin || hole.end > made.bytes)
                return fail_.status ? false : bad("has a hole that is not in its place");
            end = hole.end;
            length -= hole.end - hole.begin;
        }
        if (length > left_) return bad("its files do not add up");
        made.holes = holes;
        made.text = {at_, size_t(length)};
        at_ += length;
        left_ -= size_t(length);
        return file_.originals.push(arena_, made) || fail_.memory();
    }

    bool take_hole(const Json& item, Hole& hole) {
        if (!item.is(JsonKind::list) || (item.count != 4 && item.count != 5))
            return bad("has a hole that is not in its place");
        const Json *begin = item.first, *end = begin->next, *tensor = end->next, *encoding = tensor->next,
                   *key = encoding->next;
        constexpr const char* where = "the ONNX graph: a hole";
        Text name, how;
        if (!get_integer(*begin, "begin", where, hole.begin, fail_) ||
            !get_integer(*end, "end", where, hole.end, fail_) || !get_text(*tensor, "tensor", where, name, fail_) ||
            !get_text(*encoding, "encoding", where, how, fail_))
            return false;
        hole.varint = how == "varint";
        if (!hole.varint && !(how == "raw")) return bad("has a hole of an unknown encoding");
        if (key) {
            uint64_t byte;
            if (!get_integer(*key, "key", where, byte, fail_)) return false;
            const uint64_t wire = byte & 7;
            if (byte < 8 || byte > 127 || (hole.varint ? wire != 0 : wire != 1 && wire != 5))
                return bad("has a hole whose key is none");
            hole.key = uint8_t(byte);
        }
        hole.tensor = file_.contents.find(name);
        if (hole.tensor == kNone || &file_.contents.records[hole.tensor] == &graph_ || filled_[hole.tensor])
            return fail_.format("the ONNX graph wants \"%.*s\", which it may not", shown(name), name.data);
        filled_[hole.tensor] = true;
        const Record& r = file_.contents.records[hole.tensor];
        const uint64_t width = hole.key ? (hole.key & 7) == 5 ? 4 : 8 : 0;
        const uint64_t raw = width ? r.bytes % width ? kNone : r.bytes + r.bytes / width : r.bytes;
        if (!hole.varint && hole.end - hole.begin != raw)
            return fail_.format("the ONNX graph has no room for \"%.*s\"", shown(name), name.data);
        return true;
    }
};

// Puts a tensor's values into a file as protobuf has them.
class Filling final : public Sink {
public:
    Filling(const Hole& hole, const Dtype& dtype, Sink& out)
        : hole_(hole), dtype_(dtype), out_(out), left_(hole.end - hole.begin) {}
    uint64_t left() const { return left_; }

    bool take(const uint8_t* data, size_t n, Fail& fail) override {
        if (!hole_.varint && !hole_.key) return give(data, n, fail);
        const size_t width = hole_.varint ? dtype_.width() : (hole_.key & 7) == 5 ? 4 : 8;
        uint8_t made[4096];
        size_t size = 0;
        for (size_t i = 0; i + width <= n; i += width) {
            if (hole_.key) made[size++] = hole_.key;
            if (!hole_.varint)
                std::memcpy(made + size, data + i, width), size += width;
            else
                for (uint64_t v = number(data + i);; v >>= 7) {
                    made[size++] = uint8_t(v & 127) | (v >= 128 ? 128 : 0);
                    if (v < 128) break;
                }
            if (size + 16 > sizeof made) {
                if (!give(made, size, fail)) return false;
                size = 0;
            }
        }
        return give(made, size, fail);
    }

private:
    const Hole& hole_;
    const Dtype& dtype_;
    Sink& out_;
    uint64_t left_;

    bool give(const uint8_t* data, size_t n, Fail& fail) {
        if (n > left_) return refuse(fail);
        left_ -= n;
        return n == 0 || out_.take(data, n, fail);
    }

public:
    static bool refuse(Fail& fail) {
        return fail.set(TAUT_ERROR_UNSUPPORTED,
                        "rounded values lie as varints of another length than the original's: "
                        "the ONNX graph would have to be written anew, which `taut decompress` does");
    }

private:
    uint64_t number(const uint8_t* p) const {
        uint64_t v = 0;
        std::memcpy(&v, p, dtype_.width());
        switch (dtype_.number) {
            case Number::i8: return uint64_t(int64_t(int8_t(v)));
            case Number::i16: return uint64_t(int64_t(int16_t(v)));
            case Number::i32: return uint64_t(int64_t(int32_t(v)));
            case Number::boolean: return v != 0;
            default: return v;
        }
    }
};

}  // namespace

bool find_onnx(taut_file& file, const Record& graph, Fail& fail) { return Recipes(file, graph, fail).run(); }

bool write_onnx(taut_file& file, const Original& original, Sink& out, Fail& fail) {
    uint64_t at = 0;
    const char* literal = original.text.data;
    const auto copy = [&](uint64_t end) {
        const size_t n = size_t(end - at);
        const bool good = n == 0 || out.take(reinterpret_cast<const uint8_t*>(literal), n, fail);
        literal += n;
        at = end;
        return good;
    };
    for (size_t i = 0; i < original.hole_count; i++) {
        const Hole& hole = original.holes[i];
        if (!copy(hole.begin)) return false;
        const Record& r = file.contents.records[hole.tensor];
        if (hole.varint && r.dtype->bits > 16 &&
            (r.dtype->number == Number::f32 || r.dtype->number == Number::f64 || r.dtype->number == Number::c64))
            return fail.format("tensor \"%.*s\" is not of whole numbers", shown(r.name()), r.name().data);
        Filling filling(hole, *r.dtype, out);
        if (!read_values(file, r, {0, r.dtype->packed() ? r.bytes : r.values}, *r.dtype, filling, fail)) return false;
        if (filling.left()) return Filling::refuse(fail);
        at = hole.end;
    }
    return copy(original.bytes);
}

}  // namespace taut::capi
