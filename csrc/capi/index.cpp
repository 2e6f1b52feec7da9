// The index: what was compressed, packs, groups and modules. Its rows stand in rows.cpp.
#include "capi/contents.hpp"

namespace taut::capi {
namespace {

constexpr const char* const kNo[] = {nullptr};
constexpr const char* const kBase[] = {"base", nullptr};
constexpr int64_t kFar = int64_t(1) << 40;
constexpr uint32_t kModules = 1 << 16, kAttributes = 64;

size_t characters(Text t) {
    size_t n = 0;
    for (size_t i = 0; i < t.size; i++) n += (uint8_t(t.data[i]) & 0xc0) != 0x80;
    return n;
}

// One component of a path, as a name becomes beside the user's files.
bool is_file_name(Text name) {
    if (name.size == 0 || name == "." || name == ".." || characters(name) > 255) return false;
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] == '/' || name.data[i] == '\\' || name.data[i] == ':' || name.data[i] == 0) return false;
    return true;
}

bool is_identifier(Text name) {
    if (name.size == 0 || characters(name) > 255) return false;
    for (size_t i = 0; i < name.size; i++) {
        const char c = name.data[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || uint8_t(c) >= 0x80;
        if (!letter && !(i > 0 && c >= '0' && c <= '9')) return false;
    }
    return true;
}

bool parse_texts(const Json& source, const char* key, const char* value, bool optional, Arena& arena,
                 List<OriginalFile>& found, Fail& fail) {
    const Json* list = source.find(key);
    if (!list) return true;
    if (!list->is(JsonKind::list)) return fail.format("index: source: \"%s\" is not a list", key);
    const char* both[] = {"name", value, nullptr};
    const char* name_only[] = {"name", nullptr};
    const char* value_only[] = {value, nullptr};
    for (const Json* item = list->first; item; item = item->next) {
        if (!item->is(JsonKind::object)) return fail.format("index: %s: one is not a JSON object", key);
        if (!check_keys(*item, optional ? name_only : both, optional ? value_only : kNo, "index: source", fail))
            return false;
        OriginalFile file{};
        if (!get_text(*item->find("name"), "name", "index: source", file.name, fail)) return false;
        if (!is_file_name(file.name))
            return fail.format("index: %s: \"%.*s\" is not a file name", key, shown(file.name), file.name.data);
        const Json* text = item->find(value);
        file.whole = text != nullptr;
        if (text && !get_text(*text, value, "index: source", file.text, fail)) return false;
        if (!arena.copy(file.name, file.name) || !arena.copy(file.text, file.text) || !found.push(arena, file))
            return fail.memory();
    }
    return true;
}

bool parse_packs(const Json& tree, Arena& arena, Contents& found, Fail& fail) {
    const Json* list = tree.find("packs");
    if (!list) return true;
    if (!list->is(JsonKind::list)) return fail.format("index: \"packs\" is not a list");
    constexpr const char* const named[] = {"name", "checksum", "sum", nullptr};
    constexpr const char* const sum[] = {"sum", nullptr};
    for (const Json* item = list->first; item; item = item->next) {
        if (!item->is(JsonKind::object)) return fail.format("index: a pack is not a JSON object");
        Pack pack{};
        const Json* name = item->find("name");
        // A name of no bytes is none: such a pack lies behind the index, whatever else is said of it.
        if (!check_keys(*item, name ? named : sum, kNo, "index: pack", fail)) return false;
        if (name && (!get_text(*name, "name", "index: pack", pack.name, fail) ||
                     !get_checksum(*item->find("checksum"), "checksum", "index: pack", pack.checksum, fail)))
            return false;
        pack.named = pack.name.size > 0;
        if (!arena.copy(pack.name, pack.name)) return fail.memory();
        if (!get_checksum(*item->find("sum"), "sum", "index: pack", pack.sum, fail)) return false;
        if (!found.packs.push(arena, pack)) return fail.memory();
    }
    return true;
}

bool parse_groups(const Json& tree, int version, Arena& arena, Contents& found, Fail& fail) {
    const Json* list = tree.find("solids");
    if (!list && version == 2) return true;
    if (!list || !list->is(JsonKind::list)) return fail.format("index: \"solids\" is not a list");
    constexpr const char* const packed[] = {"name", "dtype", "pack", "lengths", nullptr};
    constexpr const char* const own[] = {"name", "dtype", "sum", "parts", nullptr};
    for (const Json* item = list->first; item; item = item->next) {
        constexpr const char* where = "index: solid group";
        if (!item->is(JsonKind::object)) return fail.format("%s: is not a JSON object", where);
        Group group{};
        const Json* pack = item->find("pack");
        const Json* base = item->find("base");
        if (!check_keys(*item, pack ? packed : own, version == 2 ? kBase : kNo, where, fail)) return false;
        if (base && !base->is(JsonKind::boolean)) return fail.format("%s: base is not true or false", where);
        group.base = base && base->flag;
        Text dtype;
        if (!get_text(*item->find("name"), "name", where, group.place.name, fail) ||
            !get_text(*item->find("dtype"), "dtype", where, dtype, fail))
            return false;
        group.dtype = find_dtype(dtype);
        if (!group.dtype) return fail.format("%s: unknown dtype \"%.*s\"", where, shown(dtype), dtype.data);
        uint64_t number = kNone;
        if (pack) {
            if (!get_integer(*pack, "pack", where, number, fail)) return false;
            if (number >= found.packs.size) return fail.format("%s: is in a pack that is not there", where);
            if (!parse_lengths(*item->find("lengths"), where, arena, group.place.parts, fail)) return false;
        } else if (!get_checksum(*item->find("sum"), "sum", where, group.place.sum, fail) ||
                   !parse_parts(*item->find("parts"), where, arena, group.place.parts, fail)) {
            return false;
        }
        group.place.pack = uint32_t(number);
        if (!arena.copy(group.place.name, group.place.name)) return fail.memory();
        if (!found.groups.push(arena, group)) return fail.memory();
    }
    return true;
}

}  // namespace

bool parse_source(const Json& tree, int version, Arena& arena, Contents& found, Fail& fail) {
    const Json* source = need(tree, "source", JsonKind::object, "index", fail);
    if (!source) return false;
    const Json* metadata = source->find("metadata");
    if ((metadata || version == 1) && !need(*source, "metadata", JsonKind::object, "index: source", fail)) return false;
    if (version == 1 && !need(*source, "files", JsonKind::list, "index: source", fail)) return false;
    if (!parse_texts(*source, "files", "header", version == 2, arena, found.files, fail)) return false;
    bool whole = true;
    for (const OriginalFile& file : found.files) whole &= file.whole;
    if (!whole && found.files.size != 1)
        return fail.format("index: source: only the header of a single file can be left out");
    if (!parse_texts(*source, "texts", "text", false, arena, found.texts, fail)) return false;
    // How low-bit weights become floats: of no use here, but of one kind.
    if (source->find("quantization") && !need(*source, "quantization", JsonKind::object, "index: source", fail))
        return false;
    const Json* bytes = source->find("bytes");
    uint64_t size;
    if (!bytes) return fail.format("index: source: no \"bytes\"");
    if (!get_integer(*bytes, "bytes", "index: source", size, fail)) return false;
    for (const Json* key = metadata ? metadata->first : nullptr; key; key = key->next->next) {
        Metadata entry{key->text(), {}};
        if (key->flag || !get_text(*key->next, "metadata", "index: source", entry.value, fail))
            return fail.format("index: source: metadata is not text");
        if (!arena.copy(entry.key, entry.key) || !arena.copy(entry.value, entry.value) ||
            !found.metadata.push(arena, entry))
            return fail.memory();
    }
    return true;
}

// What a delta's base was called.
bool parse_base(const Json& tree, Arena& arena, Contents& found, Fail& fail) {
    const Json* base = tree.find("base");
    if (!base) return true;
    if (!base->is(JsonKind::object)) return fail.format("index: base is not a JSON object");
    const Json* name = base->find("name");
    if (!name) return fail.format("index: base: no \"name\"");
    return get_text(*name, "name", "index: base", found.base, fail) && (arena.copy(found.base, found.base) || fail.memory());
}

bool parse_modules(const Json& tree, Arena& arena, Contents& found, Fail& fail) {
    const Json* modules = tree.find("modules");
    if (!modules) return true;
    if (!modules->is(JsonKind::object)) return fail.format("index: modules is not a JSON object");
    if (modules->count > kModules)
        return fail.format("index: modules: %u of them; at most %u", modules->count, kModules);
    for (const Json* name = modules->first; name; name = name->next->next) {
        const Json& attributes = *name->next;
        if (!attributes.is(JsonKind::object) || name->flag || attributes.count > kAttributes)
            return fail.format("index: modules: \"%.*s\" has no attributes, or too many", shown(name->text()),
                               name->data);
        for (const Json* key = attributes.first; key; key = key->next->next) {
            Attribute made{name->text(), key->text(), 0};
            if (key->flag || !is_identifier(made.name))
                return fail.format("index: modules: \"%.*s\" is not the name of an attribute", shown(made.name),
                                   made.name.data);
            if (!as_signed(*key->next, made.value) || made.value < -kFar || made.value > kFar)
                return fail.format("index: modules: \"%.*s\" is not an integer within -2^40 .. 2^40", shown(made.name),
                                   made.name.data);
            if (!arena.copy(made.module, made.module) || !arena.copy(made.name, made.name) ||
                !found.attributes.push(arena, made))
                return fail.memory();
        }
    }
    return true;
}

bool parse_index(const Json& tree, int version, Arena& arena, Contents& found, Fail& fail) {
    if (!tree.is(JsonKind::object)) return fail.format("index: is not a JSON object");
    if (version == 1) {
        const Json* number = tree.find("version");
        uint64_t n = 0;
        if (!number || !get_integer(*number, "version", "index", n, fail) || n != 1)
            return fail.format("index: its version is not 1, but the header says 1");
    }
    if (!parse_source(tree, version, arena, found, fail)) return false;
    if (version == 2 && !parse_packs(tree, arena, found, fail)) return false;
    if (!parse_groups(tree, version, arena, found, fail)) return false;
    if (!parse_rows(tree, version, arena, found, fail)) return false;
    return version == 1 || (parse_base(tree, arena, found, fail) && parse_modules(tree, arena, found, fail));
}

}  // namespace taut::capi
