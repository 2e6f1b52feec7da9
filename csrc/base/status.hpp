// What decoders give back: nothing, or what is wrong with the bytes. They do not throw, so that small boards, WebAssembly
// and callers of C can have them.
#pragma once
#include <cstddef>

namespace taut {

class [[nodiscard]] Status {
public:
    constexpr Status() = default;
    constexpr Status(const char* what) : what_(what) {}  // a constant text
    static Status no_memory() { return kNoMemory; }
    constexpr explicit operator bool() const { return what_ != nullptr; }  // something is wrong
    constexpr const char* what() const { return what_; }
    bool is_memory() const { return what_ == kNoMemory; }

private:
    static constexpr char kNoMemory[] = "no memory left";
    const char* what_ = nullptr;
};

}  // namespace taut

// Give back `what` unless `good`; give back what `expression` found wrong; give back that memory is lacking.
#define TAUT_REQUIRE(good, what) \
    do { \
        if (!(good)) return ::taut::Status(what); \
    } while (0)
#define TAUT_TRY(expression) \
    do { \
        if (const ::taut::Status taut_status_ = (expression)) return taut_status_; \
    } while (0)
#define TAUT_HAVE(memory) \
    do { \
        if (!(memory)) return ::taut::Status::no_memory(); \
    } while (0)
