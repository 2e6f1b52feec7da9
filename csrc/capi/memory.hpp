// What libtaut stands on: errors that are returned, and memory that is counted. No function here or above it throws.
#pragma once
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/memory.hpp"
#include "taut.h"

#if defined(__GNUC__)
#define TAUT_PRINTF(text_at, values_at) __attribute__((format(printf, text_at, values_at)))
#else
#define TAUT_PRINTF(text_at, values_at)
#endif

namespace taut::capi {

// Bytes of UTF-8 that somebody else keeps; the library's own end in a zero byte that is not counted.
struct Text {
    const char* data = "";
    size_t size = 0;
};
inline Text text_of(const char* s) { return {s, std::strlen(s)}; }
inline bool operator==(Text a, Text b) { return a.size == b.size && std::memcmp(a.data, b.data, a.size) == 0; }
inline bool operator==(Text a, const char* b) { return a == text_of(b); }
int compare(Text a, Text b);  // by bytes, as memcmp
bool any_twice(Text* texts, size_t n);  // which are put in order

// What went wrong, once: whoever finds it sets it and gives false, callers hand that on.
class Fail {
public:
    taut_status status = TAUT_OK;
    char text[sizeof(taut_error::text)] = "";

    bool set(taut_status status, const char* format, ...) TAUT_PRINTF(3, 4);
    bool format(const char* format, ...) TAUT_PRINTF(2, 3);  // TAUT_ERROR_FORMAT
    bool memory() { return set(TAUT_ERROR_MEMORY, "no memory left, or more than the limit allows"); }
    // Puts what it was about before the text.
    bool within(const char* what, Text name);
    bool within(const char* what);

private:
    bool put(taut_status status, const char* format, va_list values);
};

// How much of a name fits an error.
inline int shown(Text t) { return int(t.size < 120 ? t.size : 120); }

// One piece of memory; its bytes are not cleared.
class Block {
public:
    explicit Block(Memory& memory) : memory_(memory) {}
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    ~Block() { clear(); }
    [[nodiscard]] bool resize(size_t size);  // what was in it is lost
    [[nodiscard]] bool at_least(size_t size) { return size <= size_ || resize(size); }
    [[nodiscard]] bool grow(size_t size);  // what was in it stays
    void clear();
    uint8_t* data() { return data_; }
    const uint8_t* data() const { return data_; }
    size_t size() const { return size_; }

private:
    Memory& memory_;
    uint8_t* data_ = nullptr;
    size_t size_ = 0;
};

// Memory that is given back all at once.
class Arena {
public:
    explicit Arena(Memory& memory) : memory_(memory) {}
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena() { clear(); }
    void clear();
    Memory& memory() { return memory_; }
    void* take(size_t size, size_t alignment);  // null: there is none
    // `n` values of a type that needs no destructor, all bytes zero.
    template <class T>
    T* make(size_t n) {
        if (n > SIZE_MAX / sizeof(T)) return nullptr;
        void* p = take(n ? n * sizeof(T) : 1, alignof(T));
        if (p) std::memset(p, 0, n ? n * sizeof(T) : 1);
        return static_cast<T*>(p);
    }
    // A copy that ends in a zero byte.
    bool copy(Text from, Text& to);

private:
    struct Piece {
        Piece* before;
        size_t size;
    };
    Memory& memory_;
    Piece* last_ = nullptr;
    char *at_ = nullptr, *end_ = nullptr;
    size_t next_ = 2048;
};

// A list that grows in an arena.
template <class T>
struct List {
    T* data = nullptr;
    size_t size = 0, room = 0;

    T& operator[](size_t i) { return data[i]; }
    const T& operator[](size_t i) const { return data[i]; }
    T* begin() { return data; }
    T* end() { return data + size; }
    const T* begin() const { return data; }
    const T* end() const { return data + size; }
    [[nodiscard]] bool push(Arena& arena, const T& value) {
        if (size == room) {
            const size_t more = room ? room * 2 : 8;
            T* bigger = arena.make<T>(more);
            if (!bigger) return false;
            for (size_t i = 0; i < size; i++) bigger[i] = data[i];
            data = bigger;
            room = more;
        }
        data[size++] = value;
        return true;
    }
};

}  // namespace taut::capi
