// The files that were compressed: safetensors headers as they were or made anew, and the values behind them.
#include <algorithm>
#include <cstdio>

#include "capi/file.hpp"

namespace taut::capi {
namespace {

// Keys of the metadata that name what is beside the tensors: an ONNX graph, or the frame of GGUF files.
constexpr const char* kFrames[] = {"taut.onnx", "taut.gguf"};

// Text that grows.
class Writing {
public:
    explicit Writing(Memory& memory) : block_(memory) {}
    bool good() const { return good_; }
    Text text() const { return {reinterpret_cast<const char*>(block_.data()), size_}; }
    void put(Text t) {
        if (t.size > block_.size() - size_)
            good_ = good_ && block_.grow(std::max(size_ + t.size, block_.size() * 2 + 512));
        if (!good_ || t.size == 0) return;
        std::memcpy(block_.data() + size_, t.data, t.size);
        size_ += t.size;
    }
    void put(const char* t) { put(text_of(t)); }
    void number(uint64_t n) {
        char digits[24];
        std::snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
        put(digits);
    }
    // A JSON string with as few escapes as JSON allows.
    void string(Text t) {
        put("\"");
        for (size_t i = 0; i < t.size; i++) {
            const char c = t.data[i];
            char code[8] = {'\\', c, 0};
            constexpr char plain[] = "\b\f\n\r\t", letters[] = "bfnrt";
            if (c == '"' || c == '\\')
                put(code);
            else if (uint8_t(c) >= 0x20)
                put({&c, 1});
            else if (const char* at = c ? std::strchr(plain, c) : nullptr)
                code[1] = letters[at - plain], put(code);
            else
                std::snprintf(code, sizeof code, "\\u%04x", unsigned(uint8_t(c))), put(code);
        }
        put("\"");
    }

private:
    Block block_;
    size_t size_ = 0;
    bool good_ = true;
};

// The header that a safetensors writer gives to all tensors, end to end; `loose`: with spaces in the metadata.
bool make_header(taut_file& file, bool loose, Text& header, Fail& fail) {
    const Contents& c = file.contents;
    Writing w(file.memory);
    w.put("{");
    if (c.metadata.size) {
        w.put("\"__metadata__\":{");
        for (size_t i = 0; i < c.metadata.size; i++) {
            if (i) w.put(loose ? ", " : ",");
            w.string(c.metadata[i].key);
            w.put(loose ? ": " : ":");
            w.string(c.metadata[i].value);
        }
        w.put("}");
    }
    uint64_t end = 0;
    for (size_t i = 0; i < c.records.size; i++) {
        const Record& r = c.records[i];
        if (i || c.metadata.size) w.put(",");
        w.string(r.name());
        w.put(":{\"dtype\":\"");
        w.put(r.dtype->name);
        w.put("\",\"shape\":[");
        for (uint32_t k = 0; k < r.dimensions; k++) {
            if (k) w.put(",");
            w.number(r.shape[k]);
        }
        w.put("],\"data_offsets\":[");
        w.number(end);
        w.put(",");
        w.number(end += r.bytes);
        w.put("]}");
    }
    w.put("}");
    while (w.good() && w.text().size % 8) w.put(" ");
    return (w.good() && file.originals_arena.copy(w.text(), header)) || fail.memory();
}

bool add(taut_file& file, Original original, Fail& fail) {
    return (file.originals_arena.copy(original.name, original.name) &&
            file.originals.push(file.originals_arena, original)) ||
           fail.memory();
}

bool parse_header(Text header, Arena& arena, Block& text, Entries& entries, Fail& fail) {
    if (!text.resize(header.size + 1)) return fail.memory();
    if (header.size) std::memcpy(text.data(), header.data, header.size);
    return read_entries(reinterpret_cast<char*>(text.data()), header.size, 0, kAnyBody, arena, entries, fail);
}

// Every tensor is in the header of one file.
bool check_owners(taut_file& file, Fail& fail) {
    Arena arena(file.memory);
    const Contents& c = file.contents;
    auto* owned = arena.make<bool>(c.records.size);
    if (!owned) return fail.memory();
    size_t count = 0;
    for (const Original& original : file.originals) {
        if (original.kind != Original::safetensors) continue;
        Arena own(file.memory);
        Block text(file.memory);
        Entries entries;
        if (!parse_header(original.text, own, text, entries, fail))
            return fail.within("index: header of", original.name);
        for (const Entry& e : entries.all) {
            const uint32_t number = c.find(e.name);
            if (number == kNone || owned[number])
                return fail.format("index: tensor \"%.*s\" of an original header is not in the index, or in two files",
                                   shown(e.name), e.name.data);
            owned[number] = true;
            count++;
        }
    }
    return count == c.records.size || fail.format("index: a tensor is in no header of the original files");
}

bool alike(Text a, Text b) {  // to a file system that knows no upper and lower case
    if (a.size != b.size) return false;
    for (size_t i = 0; i < a.size; i++) {
        const auto low = [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; };
        if (low(a.data[i]) != low(b.data[i])) return false;
    }
    return true;
}

bool check_names(taut_file& file, Fail& fail) {
    const List<Original>& all = file.originals;
    if (all.size > 4096) return fail.set(TAUT_ERROR_UNSUPPORTED, "the model is of more than 4096 files");
    for (size_t i = 0; i < all.size; i++)
        for (size_t j = 0; j < i; j++)
            if (alike(all[i].name, all[j].name))
                return fail.format("a file's name comes twice: \"%.*s\"", shown(all[i].name), all[i].name.data);
    return true;
}

const Record* onnx_graph(const taut_file& file) {
    if (file.contents.files.size) return nullptr;
    for (const Metadata& m : file.contents.metadata) {
        if (!(m.key == kFrames[0]) && !(m.key == kFrames[1])) continue;
        const uint32_t number = file.contents.find(m.value);
        return number == kNone ? nullptr : &file.contents.records[number];
    }
    return nullptr;
}

bool find_safetensors(taut_file& file, Fail& fail) {
    const Contents& c = file.contents;
    for (const OriginalFile& f : c.files) {
        Original original{f.name, f.text, Original::safetensors, 0, nullptr, 0};
        if (!f.whole && !make_header(file, false, original.text, fail)) return false;
        if (!add(file, original, fail)) return false;
    }
    if (c.files.size == 0) {
        Original original{text_of("model.safetensors"), {}, Original::safetensors, 0, nullptr, 0};
        if (!make_header(file, true, original.text, fail) || !add(file, original, fail)) return false;
    }
    for (const OriginalFile& f : c.texts)
        if (!add(file, {f.name, f.text, Original::plain, 0, nullptr, 0}, fail)) return false;
    return check_owners(file, fail);
}

bool write_text(Text t, Sink& out, Fail& fail) {
    return out.take(reinterpret_cast<const uint8_t*>(t.data), t.size, fail);
}

bool write_safetensors(taut_file& file, const Original& original, Sink& out, Fail& fail) {
    Arena arena(file.memory);
    Block text(file.memory);
    Entries entries;
    if (!parse_header(original.text, arena, text, entries, fail)) return fail.within("index: header of", original.name);
    const uint64_t length = original.text.size;
    uint8_t first[8];
    std::memcpy(first, &length, 8);
    if (!out.take(first, 8, fail) || !write_text(original.text, out, fail)) return false;
    uint64_t end = 0;
    for (const Record& r : file.contents.records) {
        const Entry* e = entries.find(r.name());
        if (!e) continue;
        // The stored header must describe exactly the tensors that are put behind it.
        if (e->dtype != r.dtype || e->dimensions != r.dimensions ||
            !std::equal(r.shape, r.shape + r.dimensions, e->shape) || (r.bytes && e->begin != end))
            return fail.format("tensor \"%.*s\" is not the one that the stored header of \"%.*s\" describes",
                               shown(r.name()), r.name().data, shown(original.name), original.name.data);
        end += r.bytes;
        if (!read_values(file, r, {0, r.dtype->packed() ? r.bytes : r.values}, *r.dtype, out, fail)) return false;
    }
    return true;
}

}  // namespace

bool find_originals(taut_file& file, Fail& fail) {
    if (file.originals_known) return true;
    file.originals = {};
    file.originals_arena.clear();
    const Record* graph = onnx_graph(file);
    if (!(graph ? find_onnx(file, *graph, fail) : find_safetensors(file, fail)) || !check_names(file, fail))
        return false;
    return file.originals_known = true;
}

bool write_original(taut_file& file, const Original& original, Sink& out, Fail& fail) {
    switch (original.kind) {
        case Original::safetensors: return write_safetensors(file, original, out, fail);
        case Original::plain: return write_text(original.text, out, fail);
        default: return write_onnx(file, original, out, fail);
    }
}

}  // namespace taut::capi
