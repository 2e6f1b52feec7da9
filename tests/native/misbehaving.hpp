// Programs whose functions do what they should not, and what they hear of a file meanwhile: for test_callbacks.cpp.
#pragma once
#include <map>

#include "checks.hpp"
#include "golden_files.hpp"

namespace misbehaving {

using namespace checks;
using golden::Bytes;

enum class Way {
    honest,
    refuses,   // says that it cannot
    nothing,   // says that it could, and gave nothing
    half,      // or half
    zeros,
    flips,     // gives a bit that is another, from some call on
    once,      // or at every read but the first of a place
    strange,   // gives the bytes of another file
    calls,     // calls for the file that is being read
    closes,    // closes it
    both,      // closes it, and calls for it
};
inline constexpr Way kWays[] = {Way::refuses, Way::nothing, Way::half,  Way::zeros,  Way::flips,
                         Way::once,    Way::strange, Way::calls, Way::closes, Way::both};
inline constexpr const char* kNames[] = {"honest", "refuses", "nothing", "half", "zeros", "flips", "once", "strange", "calls", "closes", "both"};

inline bool is_misread(Way way) { return way >= Way::nothing && way <= Way::strange; }

// A program's side of an open file: what its functions do, and from which of their calls on.
struct Program {
    const Bytes& bytes;
    const Bytes& other;
    Way way = Way::honest;
    uint64_t from = UINT64_MAX;  // the call at which it begins
    bool only = false;           // and whether it ends there
    uint64_t calls = 0, blocks = 0, held = 0, closed = 0, again = 0;
    taut_file* file = nullptr;
    bool gone = false;  // the file, or soon
    std::map<uint64_t, int> seen{};

    bool now() {
        const uint64_t call = calls++;
        return only ? call == from : call >= from;
    }
    // Everything that can be called for a file, of which the library must allow none.
    void call_for_it() {
        if (!file || gone) return;
        again++;
        uint8_t out[64];
        taut_error error;
        taut_grid grid;
        const taut_grid_out nowhere{};
        size_t count;
        const char* name;
        taut_tensor t;
        check(taut_describe(file, 0, &t) == TAUT_OK || taut_count(file) == 0, "a tensor is told meanwhile");
        for (taut_status status :
             {taut_decode_rows(file, 0, 0, 0, TAUT_AS_IS, out, sizeof out, &error),
              taut_gather_rows(file, 0, nullptr, 0, TAUT_AS_IS, out, sizeof out, &error), taut_verify(file, &error),
              taut_grid_describe(file, 0, &grid, &error), taut_grid_decode(file, 0, 0, 0, &nowhere, &error),
              taut_original_count(file, &count, &error), taut_original_name(file, 0, &name, &error),
              taut_original_write(file, 0, [](void*, const void*, size_t) { return 0; }, nullptr, &error),
              taut_stand_on_file(file, nullptr, &error)})
            check(status == TAUT_ERROR_ARGUMENT && error.text[0], "a file that is in use is used once more");
    }
    void misbehave() {
        if (way == Way::calls || way == Way::both) call_for_it();
        if ((way == Way::closes || way == Way::both) && file && !gone) {
            taut_close(file);
            if (way == Way::both) call_for_it();
            gone = true;
        }
    }
    int read(uint64_t offset, void* to, size_t size) {
        const bool bad = now();
        const Bytes& from_here = bad && way == Way::strange ? other : bytes;
        if (bad && way == Way::refuses) return int(size);
        auto* out = static_cast<uint8_t*>(to);
        const size_t there = offset < from_here.size() ? std::min(size, size_t(from_here.size() - offset)) : 0;
        const size_t n = !bad ? there : way == Way::nothing ? 0 : way == Way::half ? there / 2 : there;
        if (n) std::memcpy(out, from_here.data() + offset, n);
        const bool second = seen[offset]++ > 0;
        if (bad && way == Way::zeros) std::memset(out, 0, size);
        if (bad && size && (way == Way::flips || (way == Way::once && second))) out[(calls * 7919) % size] ^= uint8_t(1 << calls % 8);
        if (bad) misbehave();
        return 0;
    }
    void* allocate(size_t size) {
        const bool bad = now();
        if (bad && way == Way::refuses) return nullptr;
        if (bad) misbehave();
        blocks++;
        held += size;
        return std::malloc(size);
    }
};

inline taut_source source_of(Program& program) {
    return {[](void* p, uint64_t offset, void* to, size_t size) { return static_cast<Program*>(p)->read(offset, to, size); },
            [](void* p) {
                auto& program = *static_cast<Program*>(p);
                program.closed++;
                if (program.way != Way::calls || !program.file) return;
                program.gone = false;  // it still is there
                program.call_for_it();
                taut_close(program.file);
                program.gone = true;
            },
            &program, program.bytes.size()};
}

// What a file gives, in an order that is always the same; calls that failed give "-" and what they said.
struct Answers {
    std::vector<std::string> given;
    void add(taut_status status, const taut_error& error, const void* data, size_t size) {
        if (status != TAUT_OK) check(error.text[0] && error.status == status, "a refusal without a reason");
        given.push_back(status == TAUT_OK ? "+" + std::string(static_cast<const char*>(data), size)
                                          : std::string("-") + taut_status_name(status) + ": " + error.text);
    }
};

inline int append(void* context, const void* bytes, size_t size) {
    static_cast<std::string*>(context)->append(static_cast<const char*>(bytes), size);
    return 0;
}

// Asks for everything until the file is gone.
inline Answers ask(Program& program, taut_file* file, taut_write* write = append) {
    Answers answers;
    taut_error error;
    const size_t tensors = taut_count(file);
    for (size_t i = 0; i < tensors && !program.gone; i++) {
        taut_tensor t;
        check(taut_describe(file, i, &t) == TAUT_OK, "a tensor without a description");
        const uint64_t rows = t.dimensions ? t.shape[0] : 1;
        for (taut_type type : {TAUT_AS_IS, TAUT_AS_FLOAT16})
            for (uint64_t part : {rows, std::min<uint64_t>(rows, 1)}) {
                uint64_t bytes;
                if (program.gone || taut_size(file, i, part, type, &bytes) != TAUT_OK) continue;
                std::vector<uint8_t> out(size_t(bytes) + 1, 0xa5);
                const taut_status status = taut_decode_rows(file, i, rows - part, part, type, out.data(), size_t(bytes), &error);
                check(out[size_t(bytes)] == 0xa5, "a byte behind the tensor is written");
                answers.add(status, error, out.data(), size_t(bytes));
            }
        uint64_t row;
        if (!program.gone && rows && taut_size(file, i, 1, TAUT_AS_FLOAT32, &row) == TAUT_OK) {
            const uint64_t which[] = {rows - 1, 0, rows - 1};
            std::vector<uint8_t> out(3 * size_t(row) + 1, 0xa5);
            const taut_status status = taut_gather_rows(file, i, which, 3, TAUT_AS_FLOAT32, out.data(), out.size() - 1, &error);
            check(out.back() == 0xa5, "a byte behind the rows is written");
            answers.add(status, error, out.data(), out.size() - 1);
        }
        taut_grid grid;
        if (program.gone) break;
        taut_status status = taut_grid_describe(file, i, &grid, &error);
        if (program.gone) break;
        if (status != TAUT_OK) grid = {};
        std::vector<int32_t> integers(size_t(grid.values), 0);
        std::vector<float> scales(size_t(grid.rows * grid.groups), 0);
        const taut_grid_out out{integers.data(), scales.data(), nullptr, nullptr, nullptr};
        if (status == TAUT_OK) status = taut_grid_decode(file, i, 0, grid.rows, &out, &error);
        answers.add(status, error, integers.data(), integers.size() * 4);
        answers.add(status, error, scales.data(), scales.size() * 4);
    }
    if (!program.gone) answers.add(taut_verify(file, &error), error, "", 0);
    size_t count;
    if (program.gone || taut_original_count(file, &count, &error) != TAUT_OK) return answers;
    for (size_t i = 0; i < count && !program.gone; i++) {
        std::string made;
        const taut_status status = taut_original_write(file, i, write, write == append ? static_cast<void*>(&made) : &program, &error);
        if (write == append) answers.add(status, error, made.data(), made.size());
    }
    return answers;
}

inline void stand(taut_file* file) {
    const taut_base base{golden::read_base, nullptr};
    if (taut_base_name(file)) check(taut_stand_on(file, &base, nullptr) == TAUT_OK, "a delta gets its base");
}

}  // namespace misbehaving
