#include "capi/dtypes.hpp"

#include <cmath>

#include "array/values.hpp"

namespace taut::capi {
namespace {

constexpr Dtype kDtypes[] = {
    {"BOOL", Number::boolean, 8},    {"I8", Number::i8, 8},
    {"I16", Number::i16, 16},        {"I32", Number::i32, 32},
    {"I64", Number::i64, 64},        {"U8", Number::u8, 8},
    {"U16", Number::u16, 16},        {"U32", Number::u32, 32},
    {"U64", Number::u64, 64},        {"F16", Number::f16, 16},
    {"F32", Number::f32, 32},        {"F64", Number::f64, 64},
    {"C64", Number::c64, 64},        {"BF16", Number::bf16, 16},
    {"F8_E4M3", Number::e4m3, 8},    {"F8_E4M3FNUZ", Number::e4m3fnuz, 8},
    {"F8_E5M2", Number::e5m2, 8},    {"F8_E5M2FNUZ", Number::e5m2fnuz, 8},
    {"F8_E8M0", Number::e8m0, 8},    {"F4", Number::f4, 4},
    {"F6_E2M3", Number::f6_e2m3, 6}, {"F6_E3M2", Number::f6_e3m2, 6},
};

template <class T>
T at(const uint8_t* p, size_t i) {
    T v;
    std::memcpy(&v, p + i * sizeof v, sizeof v);
    return v;
}

float float_of(uint32_t bits) {
    float v;
    std::memcpy(&v, &bits, 4);
    return v;
}
uint32_t bits_of(float v) {
    uint32_t u;
    std::memcpy(&u, &v, 4);
    return u;
}

// A number of a sign, `exponents` bits of exponent and the rest mantissa.
float small_float(uint32_t u, int exponents, int mantissas, int bias) {
    const uint32_t exponent = u >> mantissas & ((1u << exponents) - 1), mantissa = u & ((1u << mantissas) - 1);
    const float v = exponent ? std::ldexp(float(mantissa | 1u << mantissas), int(exponent) - bias - mantissas)
                             : std::ldexp(float(mantissa), 1 - bias - mantissas);
    return u >> (exponents + mantissas) & 1 ? -v : v;
}

float from_half(uint16_t u) {
    if ((u >> 10 & 31) == 31) return float_of(uint32_t(u & 0x8000) << 16 | 0x7f800000 | uint32_t(u & 0x3ff) << 13);
    return small_float(u, 5, 10, 15);
}

constexpr uint32_t kNan = 0x7fc00000;

// Whole numbers go through float32, as numpy and ml_dtypes have it; float64 alone has more than that holds.
double load(Number from, const uint8_t* p, size_t i) {
    switch (from) {
        case Number::boolean: return p[i] != 0;
        case Number::i8: return int8_t(p[i]);
        case Number::u8: return p[i];
        case Number::i16: return at<int16_t>(p, i);
        case Number::u16: return at<uint16_t>(p, i);
        case Number::i32: return at<int32_t>(p, i);
        case Number::u32: return at<uint32_t>(p, i);
        case Number::i64: return float(at<int64_t>(p, i));
        case Number::u64: return float(at<uint64_t>(p, i));
        case Number::f16: return from_half(at<uint16_t>(p, i));
        case Number::bf16: return float_of(uint32_t(at<uint16_t>(p, i)) << 16);
        case Number::f32: return at<float>(p, i);
        case Number::f64: return at<double>(p, i);
        case Number::e4m3: return (p[i] & 0x7f) == 0x7f ? float_of(kNan) : small_float(p[i], 4, 3, 7);
        case Number::e4m3fnuz: return p[i] == 0x80 ? float_of(kNan) : small_float(p[i], 4, 3, 8);
        case Number::e5m2: return from_half(uint16_t(p[i] << 8));
        case Number::e5m2fnuz: return p[i] == 0x80 ? float_of(kNan) : small_float(p[i], 5, 2, 16);
        case Number::e8m0: return p[i] == 0xff ? float_of(kNan) : std::ldexp(1.0f, p[i] - 127);
        default: return 0;
    }
}

// float64 to float16 in one rounding: a float32 between keeps what it loses as its last bit.
uint16_t half_of(double v) {
    float f = float(v);
    if (double(f) != v && v == v && std::isfinite(f)) {
        uint32_t u = bits_of(f);
        if (std::fabs(double(f)) > std::fabs(v)) u--;
        f = float_of(u | 1);
    }
    return to_f16(f);
}

void store(Number to, uint8_t* p, size_t i, double v) {
    switch (to) {
        case Number::f64: return put(p, i, v);
        case Number::f32: return put(p, i, float(v));
        case Number::bf16: return put(p, i, to_bf16(float(v)));
        default: return put(p, i, half_of(v));
    }
}

}  // namespace

const Dtype* find_dtype(Text name) {
    for (const Dtype& d : kDtypes)
        if (name == d.name) return &d;
    return nullptr;
}

const Dtype& dtype_of(Number number) { return kDtypes[size_t(number)]; }

bool tensor_size(const Dtype& dtype, const uint64_t* shape, size_t dimensions, uint64_t& bytes, uint64_t& values,
                 Fail& fail) {
    if (dimensions > kMaxDimensions)
        return fail.format("%zu dimensions; at most %u are allowed", dimensions, kMaxDimensions);
    // The product without its zeros: (0, 2^62, 2^62) holds nothing, yet overflows.
    const uint64_t most = kMaxNumber / (dtype.bits > 8 ? dtype.bits / 8u : 1u);
    uint64_t product = 1;
    bool none = false;
    for (size_t i = 0; i < dimensions; i++) {
        const uint64_t n = shape[i];
        if (n > kMaxNumber || (n && product > most / n))
            return fail.format("a shape of %s overflows 2^63-1 bytes", dtype.name);
        if (n)
            product *= n;
        else
            none = true;
    }
    values = none ? 0 : product;
    if (values % 8 * dtype.bits % 8) return fail.format("a shape of %s ends inside a byte", dtype.name);
    bytes = values / 8 * dtype.bits + values % 8 * dtype.bits / 8;
    return true;
}

bool can_convert(const Dtype& from, const Dtype& to) {
    if (from.packed() || from.number == Number::c64) return false;
    return to.number == Number::f16 || to.number == Number::bf16 || to.number == Number::f32 ||
           to.number == Number::f64;
}

void convert(const Dtype& from, const uint8_t* in, const Dtype& to, uint8_t* out, size_t n) {
    // Those that are common are done by their bits; a NaN stays the NaN that it is.
    if (from.number == Number::bf16 && to.number == Number::f32) {
        for (size_t i = 0; i < n; i++) put(out, i, uint32_t(at<uint16_t>(in, i)) << 16);
    } else if (from.number == Number::f16 && to.number == Number::f32) {
        for (size_t i = 0; i < n; i++) put(out, i, bits_of(from_half(at<uint16_t>(in, i))));
    } else if (from.number == Number::f32 && to.number == Number::bf16) {
        for (size_t i = 0; i < n; i++) put(out, i, to_bf16(at<float>(in, i)));
    } else if (from.number == Number::f32 && to.number == Number::f16) {
        for (size_t i = 0; i < n; i++) put(out, i, to_f16(at<float>(in, i)));
    } else {
        for (size_t i = 0; i < n; i++) store(to.number, out, i, load(from.number, in, i));
    }
}

}  // namespace taut::capi
