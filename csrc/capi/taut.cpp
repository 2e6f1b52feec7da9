// The functions of include/taut.h: arguments are looked at here, and nothing but codes and texts goes out.
#include "taut.h"

#include <algorithm>
#include <new>

#include "capi/bases.hpp"
#include "capi/in_use.hpp"
#include "capi/threads.hpp"

using namespace taut::capi;

namespace {

taut_status tell(const Fail& fail, bool good, taut_error* error) {
    const taut_status status = good ? TAUT_OK : fail.status == TAUT_OK ? TAUT_ERROR_FORMAT : fail.status;
    if (error) {
        error->status = status;
        std::memcpy(error->text, good ? "" : fail.text, good ? 1 : sizeof error->text);
    }
    return status;
}

taut_status argument(const char* what, taut_error* error) {
    Fail fail;
    return tell(fail, fail.set(TAUT_ERROR_ARGUMENT, "%s", what), error);
}

// What is done with an open file, which nothing else is done with meanwhile.
template <class Act>
taut_status during(taut_file& file, taut_error* error, Act&& act, bool alone = false) {
    InUse use(file, alone);
    if (!use)
        return argument("the file, or one that it stands on, is in use: by another thread, or by the call that called this", error);
    Fail fail;
    return tell(fail, act(fail), error);
}

// `start` opens the source; the rest is alike.
template <class Start>
taut_status open(const taut_options* options, taut_file** out, taut_error* error, Start&& start) {
    if (!out) return argument("no place for the file", error);
    *out = nullptr;
    taut_options given = TAUT_OPTIONS;
    if (options) {
        if (options->struct_size != sizeof given)
            return argument("options of another version: begin with TAUT_OPTIONS", error);
        given = *options;
    }
    if (!given.allocator.allocate != !given.allocator.release)
        return argument("an allocator is two functions, or none", error);
    const taut::Allocator allocator =
        taut::Memory({given.allocator.allocate, given.allocator.release, given.allocator.context}, 0).allocator();
    void* place = given.memory_limit && given.memory_limit < sizeof(taut_file)
                      ? nullptr
                      : allocator.allocate(allocator.context, sizeof(taut_file));
    Fail fail;
    if (!place) return tell(fail, fail.memory(), error);
    const int threads = given.threads < 1 ? 1 : given.threads > kMaxThreads ? kMaxThreads : given.threads;
    auto* file = new (place) taut_file(allocator, given.memory_limit, threads);
    file->memory.count(sizeof(taut_file));
    const bool good = start(*file, fail) && open_contents(*file, fail);
    if (good)
        *out = file;
    else
        destroy(file);
    return tell(fail, good, error);
}

const Dtype& wanted(const Record& r, taut_type type) {
    switch (type) {
        case TAUT_AS_FLOAT32: return dtype_of(Number::f32);
        case TAUT_AS_FLOAT16: return dtype_of(Number::f16);
        case TAUT_AS_BFLOAT16: return dtype_of(Number::bf16);
        default: return *r.dtype;
    }
}

struct Span {
    uint64_t first, count, bytes;  // values, or bytes of a packed dtype
};

// Rows of a tensor as values.
bool span_of(const Record& r, uint64_t first, uint64_t rows, taut_type type, Span& span, Fail& fail) {
    if (type != TAUT_AS_IS && type != TAUT_AS_FLOAT32 && type != TAUT_AS_FLOAT16 && type != TAUT_AS_BFLOAT16)
        return fail.set(TAUT_ERROR_ARGUMENT, "unknown type %d", int(type));
    const Dtype& as = wanted(r, type);
    const uint64_t all = r.dimensions ? r.shape[0] : 1;
    if (first > all || rows > all - first)
        return fail.set(TAUT_ERROR_ARGUMENT, "rows %llu .. of a tensor of %llu", (unsigned long long)first,
                        (unsigned long long)all);
    if (&as != r.dtype && !can_convert(*r.dtype, as))
        return fail.set(TAUT_ERROR_UNSUPPORTED, "tensor \"%.*s\": %s cannot be given as %s", shown(r.name()),
                        r.name().data, r.dtype->name, as.name);
    const uint64_t row = all ? r.values / all : 0;
    if (!r.dtype->packed()) {
        span = {first * row, rows * row, rows * row * as.width()};
        return true;
    }
    if (rows != all && row * r.dtype->bits % 8)
        return fail.set(TAUT_ERROR_UNSUPPORTED, "tensor \"%.*s\": a row of %s ends inside a byte", shown(r.name()),
                        r.name().data, r.dtype->name);
    const uint64_t bytes = all ? r.bytes / all : 0;
    span = rows == all ? Span{0, r.bytes, r.bytes} : Span{first * bytes, rows * bytes, rows * bytes};
    return true;
}

// Puts rows, which come in rising order and once, wherever they were asked for.
class Placing final : public Sink {
public:
    Placing(const Choice* choices, size_t count, size_t row, uint8_t* out) : next_(choices), end_(choices + count), row_(row), out_(out) {}
    bool take(const uint8_t* data, size_t n, Fail&) override {
        while (n > 0) {
            const size_t some = std::min(n, row_ - done_);
            uint8_t* const made = out_ + next_->place * row_;
            std::memcpy(made + done_, data, some);
            data += some, n -= some, done_ += some;
            if (done_ < row_) break;
            const uint64_t row = next_->row;
            for (done_ = 0; ++next_ < end_ && next_->row == row;) std::memcpy(out_ + next_->place * row_, made, row_);
        }
        return true;
    }

private:
    const Choice *next_, *end_;
    size_t row_, done_ = 0;
    uint8_t* out_;
};

class Handing final : public Sink {
public:
    Handing(taut_write* write, void* context) : write_(write), context_(context) {}
    bool take(const uint8_t* data, size_t n, Fail& fail) override {
        if (n == 0 || write_(context_, data, n) == 0) return true;
        return fail.set(TAUT_ERROR_WRITE, "the write function refused %zu bytes", n);
    }

private:
    taut_write* write_;
    void* context_;
};

bool has_original(taut_file& file, size_t number, Fail& fail) {
    if (!find_originals(file, fail)) return false;
    return number < file.originals.size || fail.set(TAUT_ERROR_ARGUMENT, "no such file");
}

}  // namespace

extern "C" {

taut_status taut_open_path(const char* path, const taut_options* options, taut_file** out, taut_error* error) {
    if (!path) return argument("no path", error);
    return open(options, out, error,
                [&](taut_file& file, Fail& fail) { return file.source.open_path(path, file.memory, fail); });
}

taut_status taut_open_memory(const void* bytes, size_t size, const taut_options* options, taut_file** out,
                             taut_error* error) {
    if (!bytes && size) return argument("no bytes", error);
    return open(options, out, error,
                [&](taut_file& file, Fail&) { return file.source.open_memory(bytes, size), true; });
}

taut_status taut_open_source(const taut_source* source, const taut_options* options, taut_file** out,
                             taut_error* error) {
    if (!source || !source->read) return argument("a source without a read function", error);
    bool taken = false;
    const taut_status status =
        open(options, out, error, [&](taut_file& file, Fail&) { return file.source.open(*source), taken = true; });
    if (!taken && source->close) source->close(source->context);
    return status;
}

void taut_close(taut_file* file) {
    if (file) close_file(file);
}

size_t taut_count(const taut_file* file) { return file ? file->contents.records.size : 0; }

taut_status taut_describe(const taut_file* file, size_t number, taut_tensor* tensor) {
    if (!file || !tensor || number >= file->contents.records.size) return TAUT_ERROR_ARGUMENT;
    const Record& r = file->contents.records[number];
    *tensor = {r.name().data, r.name().size, r.dtype->name,
               r.scheme.data, r.shape,       r.dimensions,
               r.values,      r.bytes,       r.store == Store::kept ? r.stored_bytes : r.place.parts.bytes,
               r.error,       r.target,      r.tied};
    return TAUT_OK;
}

taut_status taut_find(const taut_file* file, const char* name, size_t* number) {
    if (!file || !name || !number) return TAUT_ERROR_ARGUMENT;
    const uint32_t found = file->contents.find(text_of(name));
    if (found == kNone) return TAUT_ERROR_ARGUMENT;
    *number = found;
    return TAUT_OK;
}

taut_status taut_size(const taut_file* file, size_t number, uint64_t rows, taut_type type, uint64_t* bytes) {
    if (!file || !bytes || number >= file->contents.records.size) return TAUT_ERROR_ARGUMENT;
    const Record& r = file->contents.records[number];
    Fail fail;
    Span span;
    if (!span_of(r, 0, rows == UINT64_MAX ? (r.dimensions ? r.shape[0] : 1) : rows, type, span, fail))
        return fail.status;
    *bytes = span.bytes;
    return TAUT_OK;
}

taut_status taut_decode_rows(taut_file* file, size_t number, uint64_t first, uint64_t rows, taut_type type, void* out,
                             size_t size, taut_error* error) {
    if (!file || number >= file->contents.records.size) return argument("no such tensor", error);
    const Record& r = file->contents.records[number];
    Fail fail;
    Span span;
    if (!span_of(r, first, rows, type, span, fail)) return tell(fail, false, error);
    if (size < span.bytes || (!out && span.bytes))
        return tell(
            fail,
            fail.set(TAUT_ERROR_ARGUMENT, "room for %zu bytes, %llu are needed", size, (unsigned long long)span.bytes),
            error);
    uint8_t nothing;
    Into into(out ? static_cast<uint8_t*>(out) : &nothing);
    return during(*file, error, [&](Fail& inner) {
        return read_values(*file, r, {span.first, span.first + span.count}, wanted(r, type), into, inner);
    });
}

taut_status taut_gather_rows(taut_file* file, size_t number, const uint64_t* rows, size_t count, taut_type type, void* out,
                             size_t size, taut_error* error) {
    if (!file || number >= file->contents.records.size) return argument("no such tensor", error);
    if (!rows && count) return argument("no rows", error);
    const Record& r = file->contents.records[number];
    return during(*file, error, [&](Fail& fail) {
        const uint64_t all = r.dimensions ? r.shape[0] : 1;
        Span row;
        if (!span_of(r, 0, all ? 1 : 0, type, row, fail)) return false;
        if (row.bytes && (count > size / row.bytes || (!out && count)))
            return fail.set(TAUT_ERROR_ARGUMENT, "room for %zu bytes, %zu rows of %llu are needed", size, count,
                            (unsigned long long)row.bytes);
        Block block(file->memory);
        if (count > SIZE_MAX / sizeof(Choice) || !block.resize(count * sizeof(Choice))) return fail.memory();
        Choice* const choices = reinterpret_cast<Choice*>(block.data());
        for (size_t i = 0; i < count; i++) {
            choices[i] = {rows[i], i};
            if (choices[i].row >= all)
                return fail.set(TAUT_ERROR_ARGUMENT, "row %llu of a tensor of %llu", (unsigned long long)choices[i].row,
                                (unsigned long long)all);
        }
        const auto before = [](const Choice& a, const Choice& b) { return a.row < b.row; };
        std::make_heap(choices, choices + count, before);
        std::sort_heap(choices, choices + count, before);  // less code than std::sort
        Placing placing(choices, count, size_t(row.bytes), static_cast<uint8_t*>(out));
        return read_values(*file, r, {choices, count, row.count}, wanted(r, type), placing, fail);
    });
}

taut_status taut_decode(taut_file* file, size_t number, taut_type type, void* out, size_t size, taut_error* error) {
    if (!file || number >= file->contents.records.size) return argument("no such tensor", error);
    const Record& r = file->contents.records[number];
    return taut_decode_rows(file, number, 0, r.dimensions ? r.shape[0] : 1, type, out, size, error);
}

taut_status taut_grid_describe(taut_file* file, size_t number, taut_grid* grid, taut_error* error) {
    if (!file || !grid || number >= file->contents.records.size)
        return argument("no such tensor, or no place for its grid", error);
    const Record& r = file->contents.records[file->contents.records[number].target];
    return during(*file, error, [&](Fail& fail) { return describe_grid(*file, r, *grid, fail); });
}

taut_status taut_grid_decode(taut_file* file, size_t number, uint64_t first, uint64_t rows, const taut_grid_out* out,
                             taut_error* error) {
    if (!file || !out || number >= file->contents.records.size)
        return argument("no such tensor, or no place for its grid", error);
    const Record& r = file->contents.records[file->contents.records[number].target];
    return during(*file, error, [&](Fail& fail) { return read_grid(*file, r, first, rows, *out, fail); });
}

const char* taut_base_name(const taut_file* file) {
    if (!file) return nullptr;
    for (const Record& r : file->contents.records)
        if (r.store == Store::base || r.on_base != OnBase::none) return file->contents.base.data ? file->contents.base.data : "";
    return nullptr;
}

taut_status taut_stand_on_file(taut_file* file, taut_file* base, taut_error* error) {
    if (!file) return argument("no file", error);
    return during(*file, error, [&](Fail& fail) { return stand_on(*file, base, fail); }, true);
}

taut_status taut_stand_on(taut_file* file, const taut_base* base, taut_error* error) {
    if (!file || !base || !base->read) return argument("no file, or a base without a read function", error);
    return during(
        *file, error, [&](Fail& fail) { return stand_on(*file, nullptr, fail) && (file->base = *base, true); }, true);
}

taut_status taut_verify(taut_file* file, taut_error* error) {
    if (!file) return argument("no file", error);
    return during(*file, error, [&](Fail& fail) { return verify(*file, fail); });
}

size_t taut_attribute_count(const taut_file* file) { return file ? file->contents.attributes.size : 0; }

taut_status taut_attribute_at(const taut_file* file, size_t number, taut_attribute* attribute) {
    if (!file || !attribute || number >= file->contents.attributes.size) return TAUT_ERROR_ARGUMENT;
    const Attribute& a = file->contents.attributes[number];
    *attribute = {a.module.data, a.name.data, a.value};
    return TAUT_OK;
}

taut_status taut_original_count(taut_file* file, size_t* count, taut_error* error) {
    if (!file || !count) return argument("no file, or no place for the count", error);
    *count = 0;
    return during(*file, error,
                  [&](Fail& fail) { return find_originals(*file, fail) && (*count = file->originals.size, true); });
}

taut_status taut_original_name(taut_file* file, size_t number, const char** name, taut_error* error) {
    if (!file || !name) return argument("no file, or no place for the name", error);
    return during(*file, error, [&](Fail& fail) {
        return has_original(*file, number, fail) && (*name = file->originals[number].name.data, true);
    });
}

taut_status taut_original_write(taut_file* file, size_t number, taut_write* write, void* context, taut_error* error) {
    if (!file || !write) return argument("no file, or no write function", error);
    Handing out(write, context);
    return during(*file, error, [&](Fail& fail) {
        return has_original(*file, number, fail) && write_original(*file, file->originals[number], out, fail);
    });
}

void taut_memory(const taut_file* file, uint64_t* held, uint64_t* peak) {
    if (held) *held = file ? file->memory.held() : 0;
    if (peak) *peak = file ? file->memory.peak() : 0;
}

const char* taut_status_name(taut_status status) {
    switch (status) {
        case TAUT_OK: return "ok";
        case TAUT_ERROR_ARGUMENT: return "argument";
        case TAUT_ERROR_READ: return "read";
        case TAUT_ERROR_FORMAT: return "format";
        case TAUT_ERROR_CHECKSUM: return "checksum";
        case TAUT_ERROR_MEMORY: return "memory";
        case TAUT_ERROR_UNSUPPORTED: return "unsupported";
        case TAUT_ERROR_WRITE: return "write";
    }
    return "unknown";
}

const char* taut_decoder_name(void) { return trusted_kernels().name; }

}  // extern "C"
