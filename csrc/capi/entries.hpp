// The safetensors header: which entries a file has, and where.
#pragma once
#include "capi/dtypes.hpp"

namespace taut::capi {

struct Entry {
    Text name;
    const Dtype* dtype;
    const uint64_t* shape;
    uint32_t dimensions;
    bool taken;           // by what the index says of it
    uint64_t begin, end;  // bytes of the file
    uint64_t bytes() const { return end - begin; }
};

struct Entries {
    List<Entry> all;              // in the order of the body, which they cover without a gap
    uint32_t* by_name = nullptr;  // numbers of `all`, sorted
    Entry* find(Text name);       // null: there is none
};

// Reads the JSON of a header, which is unescaped where it lies; the body reaches from `body` to the end of the file, which
// has `size` bytes, or as many as the header says (kAnyBody).
constexpr uint64_t kAnyBody = UINT64_MAX;
bool read_entries(char* json, size_t length, uint64_t body, uint64_t size, Arena& arena, Entries& found, Fail& fail);

}  // namespace taut::capi
