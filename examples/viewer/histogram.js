// How a tensor's values lie: counts in bins from the least to the greatest.
"use strict";
globalThis.Viewer ??= {};

(() => {
    const MOST = 1 << 22;  // bytes of a plain tensor that are looked at, from its beginning
    const BINS = 64;

    Viewer.histogram = (values) => {
        let low = Infinity, high = -Infinity, zeros = 0, odd = 0;
        for (const value of values) {
            if (!Number.isFinite(value))
                odd++;
            else {
                low = Math.min(low, value);
                high = Math.max(high, value);
                zeros += value === 0;
            }
        }
        const counts = new Array(BINS).fill(0);
        const width = (high - low) / BINS;
        for (const value of values) {
            if (Number.isFinite(value))
                counts[width > 0 ? Math.min(BINS - 1, Math.floor((value - low) / width)) : 0]++;
        }
        return {low, high, counts, zeros, odd, of: values.length};
    };

    function half(bits) {
        const sign = bits & 0x8000 ? -1 : 1, exponent = bits >> 10 & 31, mantissa = bits & 1023;
        return exponent === 31 ? (mantissa ? NaN : sign * Infinity) :
            sign * (exponent ? 2 ** (exponent - 15) * (1 + mantissa / 1024) : 2 ** -14 * mantissa / 1024);
    }

    const READ = {
        F32: (view, at) => view.getFloat32(at, true), F64: (view, at) => view.getFloat64(at, true),
        F16: (view, at) => half(view.getUint16(at, true)),
        BF16: (view, at) => new Float32Array(new Uint32Array([view.getUint16(at, true) << 16]).buffer)[0],
        I8: (view, at) => view.getInt8(at), U8: (view, at) => view.getUint8(at), BOOL: (view, at) => view.getUint8(at),
        I16: (view, at) => view.getInt16(at, true), U16: (view, at) => view.getUint16(at, true),
        I32: (view, at) => view.getInt32(at, true), U32: (view, at) => view.getUint32(at, true),
        I64: (view, at) => Number(view.getBigInt64(at, true)), U64: (view, at) => Number(view.getBigUint64(at, true))
    };

    /** Of a tensor that lies in a safetensors file as it is; null where its numbers are not known. */
    Viewer.histogramOf = async (file, tensor) => {
        const get = READ[tensor.dtype];
        if (!get || tensor.begin === undefined || tensor.values === 0)
            return null;
        const step = Viewer.bits[tensor.dtype] / 8;
        const bytes = await file.slice(tensor.begin, Math.min(tensor.end, tensor.begin + MOST)).arrayBuffer();
        const view = new DataView(bytes);
        return Viewer.histogram(Float64Array.from({length: Math.floor(bytes.byteLength / step)}, (_, k) => get(view, k * step)));
    };
})();
