// Files of more than 2 GB, on systems whose `long` has 32 bits.
#if !defined(_WIN32) && !defined(_FILE_OFFSET_BITS)
#define _FILE_OFFSET_BITS 64
#endif
#if !defined(_WIN32) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#include "capi/source.hpp"

#include <cstdio>

namespace taut::capi {
namespace {

#if defined(_WIN32)
int seek(FILE* file, uint64_t at, int from) { return _fseeki64(file, int64_t(at), from); }
int64_t tell(FILE* file) { return _ftelli64(file); }
#else
int seek(FILE* file, uint64_t at, int from) { return fseeko(file, off_t(at), from); }
int64_t tell(FILE* file) { return int64_t(ftello(file)); }
#endif

int read_file(void* context, uint64_t offset, void* to, size_t size) {
    auto* file = static_cast<FILE*>(context);
    return seek(file, offset, SEEK_SET) != 0 || std::fread(to, 1, size, file) != size;
}
void close_file(void* context) { std::fclose(static_cast<FILE*>(context)); }

constexpr uint8_t kNothing = 0;

}  // namespace

void Source::open_memory(const void* bytes, size_t size) {
    memory_ = bytes ? static_cast<const uint8_t*>(bytes) : &kNothing;
    size_ = size;
}

void Source::open(const taut_source& source) {
    source_ = source;
    size_ = source.size;
}

bool Source::open_path(const char* path, Memory&, Fail& fail) {
    FILE* file = std::fopen(path, "rb");
    if (!file) return fail.set(TAUT_ERROR_READ, "the file cannot be opened");
    // The library's memory is its own; what the C library holds for a file it need not.
    std::setvbuf(file, nullptr, _IONBF, 0);
    const int64_t size = seek(file, 0, SEEK_END) == 0 ? tell(file) : -1;
    if (size < 0) {
        std::fclose(file);
        return fail.set(TAUT_ERROR_READ, "the file has no size: it is none that can be read at any place");
    }
    open({read_file, close_file, file, uint64_t(size)});
    return true;
}

void Source::close() {
    if (source_.close) source_.close(source_.context);
    source_ = {};
}

bool Source::read(uint64_t begin, uint8_t* to, size_t n, Fail& fail) const {
    if (begin > size_ || n > size_ - begin)
        return fail.set(TAUT_ERROR_READ, "bytes beyond the end of the file were asked for");
    if (n == 0) return true;
    if (memory_) {
        std::memcpy(to, memory_ + begin, n);
        return true;
    }
    const int gave = source_.read(source_.context, begin, to, n);
    if (gave == 0) return true;
    return fail.set(TAUT_ERROR_READ,
                    "%zu bytes at offset %llu cannot be read: the file is shorter than it was, or its source failed (%d)",
                    n, (unsigned long long)begin, gave);
}

const uint8_t* Source::bytes(uint64_t begin, size_t n, Block& block, Fail& fail) const {
    if (memory_ && begin <= size_ && n <= size_ - begin) return memory_ + begin;
    if (begin > size_ || n > size_ - begin) {
        fail.set(TAUT_ERROR_READ, "bytes beyond the end of the file were asked for");
        return nullptr;
    }
    if (!block.at_least(n ? n : 1)) {
        fail.memory();
        return nullptr;
    }
    return read(begin, block.data(), n, fail) ? block.data() : nullptr;
}

}  // namespace taut::capi
