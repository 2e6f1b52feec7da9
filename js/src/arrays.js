// The number formats of safetensors as typed arrays.
import {TautError} from "./errors.js";

const ARRAYS = {
    BOOL: Uint8Array, U8: Uint8Array, I8: Int8Array, U16: Uint16Array, I16: Int16Array, U32: Uint32Array,
    I32: Int32Array, U64: BigUint64Array, I64: BigInt64Array, F32: Float32Array, F64: Float64Array,
    C64: Float32Array
};
// Floats without a typed array of their own in every engine: given as float32, which holds each of their values.
const NARROW = new Set(["F16", "BF16", "F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ", "F8_E8M0"]);
const KINDS = {own: 0, bits: 0, float32: 1, float16: 2, bfloat16: 3};

/** How libtaut is asked for values of `dtype` as `as`, and the array that takes them. */
export function form(dtype, as = "own") {
    if (!Object.hasOwn(KINDS, as))
        throw new TautError("argument", `as: "${as}" is none of ${Object.keys(KINDS).join(", ")}`);
    if (as === "own" && NARROW.has(dtype))
        return {kind: KINDS.float32, make: Float32Array};
    if (as === "own")
        return {kind: 0, make: ARRAYS[dtype] ?? Uint8Array};
    if (as === "bits")
        return {kind: 0, make: dtype === "F16" || dtype === "BF16" ? Uint16Array : ARRAYS[dtype] ?? Uint8Array};
    return {kind: KINDS[as], make: as === "float32" ? Float32Array : Uint16Array};
}
