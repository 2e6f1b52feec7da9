// An open file, and what is done with it.
#pragma once
#include <atomic>

#include "capi/array_reader.hpp"
#include "capi/checksum.hpp"
#include "capi/contents.hpp"
#include "capi/source.hpp"
#include "capi/wanted.hpp"
#include "taut.h"

namespace taut::capi {

// One of the files that were compressed: a safetensors file, a text beside it, or one of an ONNX model.
struct Original {
    Text name;
    Text text;  // safetensors: its header; a text file: all of it; ONNX: its bytes without the holes
    enum Kind : uint8_t { safetensors, plain, onnx } kind;
    uint64_t bytes;  // ONNX: with the holes
    const struct Hole* holes;
    size_t hole_count;
};

}  // namespace taut::capi

// The handle that a program holds.
struct taut_file {
    taut_file(const taut::Allocator& allocator, uint64_t limit, int thread_count)
        : memory(allocator, limit),
          arena(memory),
          threads(thread_count),
          group(memory),
          graph(memory),
          originals_arena(memory) {}

    taut::Memory memory;
    taut::capi::Source source;
    taut::capi::Arena arena;
    taut::capi::Contents contents;
    int threads;
    taut::capi::Block group;  // the solid group that was decoded last
    uint32_t group_number = taut::capi::kNone;
    size_t group_bytes = 0;
    taut::capi::Block graph;  // ONNX: the files without their tensors' values
    taut::capi::Arena originals_arena;
    taut::capi::List<taut::capi::Original> originals;
    bool originals_known = false;
    taut_base base{};  // of a delta: one of both
    taut_file* base_file = nullptr;
    std::atomic<bool> in_use{false}, closing{false};  // in_use.hpp
};

namespace taut::capi {

// Reads header and index. What it leaves in `file` on failure is of no use.
bool open_contents(taut_file& file, Fail& fail);

// Takes values as they come, in order.
class Sink {
public:
    virtual bool take(const uint8_t*, size_t, Fail&) { return true; }
    virtual void come_to(uint64_t) {}  // what is taken next begins at this byte of what is stored
    uint8_t* direct = nullptr;         // where they may be put instead, unless rows were chosen: room for all of them

protected:
    ~Sink() = default;
};
class Into final : public Sink {  // memory
public:
    explicit Into(uint8_t* out) { direct = out; }
};
class Hashing final : public Sink {
public:
    bool take(const uint8_t* data, size_t n, Fail&) override { return sum.add(data, n), true; }
    Checksum sum;
};

// The stored values of a tensor that is no alias, those bytes of them that are wanted.
bool read_stored(taut_file& file, const Record& record, const Wanted& wanted, Sink& sink, Fail& fail);
// Hands on what is wanted of stored bytes from .. to, which are at `data`.
bool hand_on(const Wanted& wanted, const uint8_t* data, uint64_t from, uint64_t to, Sink& sink, Fail& fail);
// Everything of a place, which is a group's or a tensor's; gives the bytes that it decoded to.
bool read_place(taut_file& file, const Place& place, uint64_t bytes, Sink& sink, uint64_t& decoded, Fail& fail,
                const uint8_t* base = nullptr, uint64_t base_bytes = 0);
// Values that are wanted, as the tensor's dtype says, or as `as`, to `sink` piece by piece.
bool read_values(taut_file& file, const Record& record, const Wanted& wanted, const Dtype& as, Sink& sink, Fail& fail);

bool verify(taut_file& file, Fail& fail);

// The grid of a tensor that is no alias (grid.cpp).
bool describe_grid(taut_file& file, const Record& record, taut_grid& grid, Fail& fail);
bool read_grid(taut_file& file, const Record& record, uint64_t first, uint64_t rows, const taut_grid_out& out,
               Fail& fail);

// The files that were compressed, by name; afterwards they are in `file.originals`.
bool find_originals(taut_file& file, Fail& fail);
bool write_original(taut_file& file, const Original& original, Sink& out, Fail& fail);
bool find_onnx(taut_file& file, const Record& graph, Fail& fail);
bool write_onnx(taut_file& file, const Original& original, Sink& out, Fail& fail);

}  // namespace taut::capi
