// The number formats of safetensors, and values from one to another.
#pragma once
#include "capi/memory.hpp"

namespace taut::capi {

enum class Number : uint8_t {
    boolean,
    i8,
    i16,
    i32,
    i64,
    u8,
    u16,
    u32,
    u64,
    f16,
    f32,
    f64,
    c64,
    bf16,
    e4m3,
    e4m3fnuz,
    e5m2,
    e5m2fnuz,
    e8m0,
    f4,
    f6_e2m3,
    f6_e3m2
};
struct Dtype {
    const char* name;
    Number number;
    uint8_t bits;
    bool packed() const { return bits % 8 != 0; }             // several values in a byte
    size_t width() const { return packed() ? 1 : bits / 8; }  // of what is addressed
};
const Dtype* find_dtype(Text name);  // null: there is none
const Dtype& dtype_of(Number number);

constexpr uint32_t kMaxDimensions = 32;
constexpr uint64_t kMaxNumber = UINT64_MAX >> 1;

// Bytes and values of a tensor; false where they overflow or end inside a byte.
bool tensor_size(const Dtype& dtype, const uint64_t* shape, size_t dimensions, uint64_t& bytes, uint64_t& values,
                 Fail& fail);

// Whether values of `from` can be given as `to`: numbers that are not complex or packed, to a float.
bool can_convert(const Dtype& from, const Dtype& to);
// `n` values, each rounded to nearest even; neither end need be aligned.
void convert(const Dtype& from, const uint8_t* in, const Dtype& to, uint8_t* out, size_t n);

}  // namespace taut::capi
