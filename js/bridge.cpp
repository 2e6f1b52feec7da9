// What JavaScript calls of libtaut: one file an instance, numbers as doubles, bytes from and to two functions of the
// host. tools/wasm.py compiles it with the amalgamation.
#include "taut.cpp"

#define EXPORT(name) __attribute__((export_name(#name)))
#define IMPORT(name) __attribute__((import_module("taut"), import_name(#name)))

extern "C" {

IMPORT(read) int host_read(double offset, void* to, size_t size);  // 0: done
IMPORT(base) int host_base(const char* name, size_t name_size, void* to, size_t size);
IMPORT(write) int host_write(const void* bytes, size_t size);
IMPORT(want) void host_want(double offset, double size);

}  // extern "C"

// The layout that src/engine.js reads.
static_assert(sizeof(void*) == 4 && sizeof(taut_tensor) == 64 && sizeof(taut_attribute) == 16);
static_assert(sizeof(taut_grid) == 80 && offsetof(taut_grid, group) == 32 && offsetof(taut_grid, offsets) == 48);
static_assert(offsetof(taut_tensor, shape) == 16 && offsetof(taut_tensor, values) == 24);
static_assert(offsetof(taut_tensor, same_as) == 56 && offsetof(taut_error, text) == 4);

namespace {

taut_file* file;
taut_error error;
taut_tensor tensor;
taut_attribute attribute;
taut_grid grid;
char digits[16];

int read(void*, uint64_t offset, void* to, size_t size) { return host_read(double(offset), to, size); }
int write(void*, const void* bytes, size_t size) { return host_write(bytes, size); }
int read_base(void*, const char* name, size_t name_size, const char*, const uint64_t*, uint32_t, void* to, size_t size) {
    return host_base(name, name_size, to, size);
}

}  // namespace

extern "C" {

EXPORT(open) int js_open(double size, double limit) {
    taut_options options = TAUT_OPTIONS;
    options.memory_limit = uint64_t(limit);
    const taut_source source = {read, nullptr, nullptr, uint64_t(size)};
    taut_close(file);
    const taut_status status = taut_open_source(&source, &options, &file, &error);
    const taut_base base = {read_base, nullptr};
    return status != TAUT_OK || !taut_base_name(file) ? status : taut_stand_on(file, &base, &error);
}
EXPORT(base_name) const char* js_base_name() { return taut_base_name(file); }  // null: no delta
EXPORT(error) const char* js_error() { return error.text; }
EXPORT(allocate) void* js_allocate(size_t size) { return malloc(size); }
EXPORT(release) void js_release(void* block) { free(block); }

EXPORT(count) size_t js_count() { return taut_count(file); }
EXPORT(describe) const taut_tensor* js_describe(size_t number) {
    return taut_describe(file, number, &tensor) == TAUT_OK ? &tensor : nullptr;
}
EXPORT(size) double js_size(size_t number, double rows, int type) {  // -1: it cannot be given so
    uint64_t bytes;
    const uint64_t wanted = rows < 0 ? UINT64_MAX : uint64_t(rows);
    return taut_size(file, number, wanted, taut_type(type), &bytes) == TAUT_OK ? double(bytes) : -1;
}
EXPORT(decode) int js_decode(size_t number, double first, double rows, int type, void* out, size_t size) {
    return taut_decode_rows(file, number, uint64_t(first), uint64_t(rows), taut_type(type), out, size, &error);
}
EXPORT(gather) int js_gather(size_t number, const uint64_t* rows, size_t count, int type, void* out, size_t size) {
    return taut_gather_rows(file, number, rows, count, taut_type(type), out, size, &error);
}
// Tells the host where the chunks lie that hold these rows, which rise, so that it fetches no others, and all at once. Of what is
// no coded array of its own it is told nothing.
EXPORT(chunks_of) int js_chunks_of(size_t number, const uint64_t* rows, size_t count) {
    using namespace taut::capi;
    const Record& r = file->contents.records[file->contents.records[number].target];
    if (r.place.parts.size == 0 || r.place.pack != kNone || count == 0) return TAUT_OK;
    Fail fail;
    OpenArray array(file->memory);
    if (!open_array(*file, r.place, r.stored_bytes, array, fail)) return tell(fail, false, &error);
    const uint64_t row = r.stored_bytes / (r.dimensions ? r.shape[0] : 1), chunk = array.reader.chunk_values() * array.reader.header().width;
    uint64_t begin = array.chunks_begin;
    for (size_t part = 1, next = 0; part < r.place.parts.size; begin += r.place.parts.data[part++].bytes) {
        while (next < count && (rows[next] + 1) * row <= (part - 1) * chunk) next++;
        if (next < count && rows[next] * row < part * chunk) host_want(double(begin), double(r.place.parts.data[part].bytes));
    }
    return TAUT_OK;
}
EXPORT(verify) int js_verify() { return taut_verify(file, &error); }

EXPORT(grid) int js_grid(size_t number) { return taut_grid_describe(file, number, &grid, &error); }
EXPORT(grid_at) const taut_grid* js_grid_at() { return &grid; }
EXPORT(grid_decode) int js_grid_decode(size_t number, double rows, int32_t* integers, float* scales, int32_t* zeros,
                                      float* column_scales, float* levels) {
    const taut_grid_out out = {integers, scales, zeros, column_scales, levels};
    return taut_grid_decode(file, number, 0, uint64_t(rows), &out, &error);
}

EXPORT(attributes) size_t js_attributes() { return taut_attribute_count(file); }
EXPORT(attribute) const taut_attribute* js_attribute(size_t number) {
    return taut_attribute_at(file, number, &attribute) == TAUT_OK ? &attribute : nullptr;
}

EXPORT(originals) int js_originals() {  // their number, or the status times -1
    size_t count;
    const taut_status status = taut_original_count(file, &count, &error);
    return status == TAUT_OK ? int(count) : -int(status);
}
EXPORT(original_name) const char* js_original_name(size_t number) {
    const char* name;
    return taut_original_name(file, number, &name, &error) == TAUT_OK ? name : nullptr;
}
EXPORT(original) int js_original(size_t number) { return taut_original_write(file, number, write, nullptr, &error); }

EXPORT(checksum) const char* js_checksum(const uint8_t* bytes, size_t size) {  // 16 digits, no zero behind them
    taut::capi::put_digits(taut::capi::checksum(bytes, size), digits);
    return digits;
}
EXPORT(peak) double js_peak() {
    uint64_t held, peak;
    taut_memory(file, &held, &peak);
    return double(peak);
}

}  // extern "C"
