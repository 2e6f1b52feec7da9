// Where a file's bytes come from: memory, which is used where it lies, or a function that reads them.
#pragma once
#include "capi/memory.hpp"

namespace taut::capi {

class Source {
public:
    Source() = default;
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    ~Source() { close(); }
    void open_memory(const void* bytes, size_t size);
    void open(const taut_source& source);
    bool open_path(const char* path, Memory& memory, Fail& fail);
    void close();

    uint64_t size() const { return size_; }
    // Bytes begin .. begin + n, within the file: where they lie, or read into `block`. Null: they could not be had.
    const uint8_t* bytes(uint64_t begin, size_t n, Block& block, Fail& fail) const;
    bool read(uint64_t begin, uint8_t* to, size_t n, Fail& fail) const;
    bool in_memory() const { return memory_ != nullptr; }

private:
    const uint8_t* memory_ = nullptr;
    taut_source source_{};
    uint64_t size_ = 0;
};

}  // namespace taut::capi
