// What a file says of itself: safetensors, Taut (docs/format.md) and GGUF. Headers alone are read, as little of the file
// as they take. A file is anything with a name, a size and slice(begin, end).arrayBuffer(), as a dropped one has.
"use strict";
globalThis.Viewer ??= {};

(() => {
    const MOST_HEADER = 100e6, MOST_INDEX = 100e6;
    const BITS = {
        BOOL: 8, U8: 8, I8: 8, U16: 16, I16: 16, U32: 32, I32: 32, U64: 64, I64: 64, F16: 16, BF16: 16, F32: 32, F64: 64,
        C64: 64, F8_E4M3: 8, F8_E4M3FNUZ: 8, F8_E5M2: 8, F8_E5M2FNUZ: 8, F8_E8M0: 8, F4: 4, F6_E2M3: 6, F6_E3M2: 6
    };
    Viewer.bits = BITS;

    const wrong = (why) => new Error(why);
    const read = async (file, begin, end) => new Uint8Array(await file.slice(begin, Math.min(end, file.size)).arrayBuffer());
    const whole = (value) => Number.isSafeInteger(value) && value >= 0;
    const product = (shape) => shape.reduce((all, one) => all * one, 1);

    function json(bytes, what) {
        try {
            return JSON.parse(new TextDecoder("utf-8", {fatal: true}).decode(bytes));
        } catch (error) {
            throw wrong(`${what} is no JSON: ${error.message}`);
        }
    }

    function sound(name, dtype, shape) {
        if (typeof name !== "string" || !Object.hasOwn(BITS, dtype) || !Array.isArray(shape) || shape.length > 32 || !shape.every(whole))
            throw wrong(`tensor ${JSON.stringify(name)?.slice(0, 100)}: no dtype and shape that are known (${String(dtype).slice(0, 20)})`);
        const values = product(shape);
        if (!whole(values) || values * BITS[dtype] / 8 > 2 ** 48)
            throw wrong(`tensor "${name.slice(0, 100)}": a shape of more than 2^48 bytes`);
        return values;
    }

    /** Whichever of the formats a file has; throws what is wrong. */
    Viewer.open = async (file) => {
        try {
            return await opened(file);
        } catch (error) {
            // Of the wrong kind somewhere: null for an object, a text for a list.
            throw error instanceof TypeError || error instanceof RangeError ?
                wrong(`header or index are not as they should be (${error.message})`) : error;
        }
    };

    /** Entries lie one behind the other, from the header to the end: a name that stands twice leaves a hole. */
    function checkPlaces(entries, begin, end) {
        let at = begin;
        for (const one of [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
            if (one.begin !== at)
                throw wrong(`tensor "${one.name.slice(0, 100)}": lies over another, or behind a hole`);
            at = one.end;
        }
        if (at !== end)
            throw wrong(`the tensors end at byte ${at}, the file at ${end}`);
    }

    async function opened(file) {
        const start = await read(file, 0, 8);
        if (start.length === 8 && new TextDecoder().decode(start.subarray(0, 4)) === "GGUF")
            return gguf(file);
        if (start.length < 8)
            throw wrong("too short for a safetensors, Taut or GGUF file");
        const length = Number(new DataView(start.buffer).getBigUint64(0, true));
        if (length > MOST_HEADER || 8 + length > file.size || length < 2)
            throw wrong("neither safetensors, Taut nor GGUF: its first bytes are no length of a header");
        const bytes = await read(file, 8, 8 + length);
        const header = json(bytes, "the header");
        if (header === null || typeof header !== "object" || Array.isArray(header))
            throw wrong("the header is no object");
        const metadata = header.__metadata__ ?? {};
        const entries = Object.entries(header).filter(([name]) => name !== "__metadata__").map(([name, entry]) => {
            const {dtype, shape, data_offsets: place} = entry ?? {};
            const values = sound(name, dtype, shape);
            if (!Array.isArray(place) || !place.every(whole) || place[0] > place[1] || 8 + length + place[1] > file.size)
                throw wrong(`tensor "${name.slice(0, 100)}": lies outside the file`);
            const size = Math.ceil(values * BITS[dtype] / 8);
            if (place[1] - place[0] !== size)
                throw wrong(`tensor "${name.slice(0, 100)}": ${size} bytes by its shape, ${place[1] - place[0]} by its place`);
            return {name, dtype, shape, values, bytes: size, begin: 8 + length + place[0], end: 8 + length + place[1]};
        });
        checkPlaces(entries, 8 + length, file.size);
        if (metadata.taut !== undefined)
            return tautFile(file, metadata, entries);
        const tensors = entries.map((one) => ({...one, scheme: "", fileBytes: one.bytes, error: null, sameAs: null}));
        return {format: "safetensors", metadata, tensors, original: null, header: 8 + length};
    }

    async function tautFile(file, metadata, entries) {
        if (!/^[12]$/.test(metadata.taut))
            throw wrong(`Taut format ${String(metadata.taut).slice(0, 9)}; this page reads 1 and 2`);
        if (entries.length === 0)
            throw wrong("a Taut file without an index");
        const last = entries.reduce((a, b) => b.end > a.end || b.end === a.end && b.begin >= a.begin ? b : a);
        const blob = await read(file, last.begin, last.end);
        const first = metadata.taut === "1";
        const most = Math.min(MOST_INDEX, 262144 + 50 * blob.length);
        const dictionary = first ? new Uint8Array(0) : new TextEncoder().encode(Viewer.dictionary);
        const {out} = Viewer.inflate(first ? blob.subarray(2) : blob, dictionary, most);
        const index = json(out, "the index");
        const {source = {}, kinds = [], solids = [], tensors: rows, modules = {}} = index ?? {};
        if (!Array.isArray(rows) || !Array.isArray(kinds) || !Array.isArray(solids))
            throw wrong("the index has no list of tensors");
        const records = rows.map((row) => first ? row : record(row, kinds));
        // What has an entry of its own has that entry's bytes: some zeros follow its parts.
        const own = new Map(entries.map((one) => [one.name, one.end - one.begin]));
        const sized = (one) => one.parts && own.has(one.name) ? own.get(one.name) : total(one.parts ?? one.lengths);
        const solidBytes = solids.map(sized);
        const decoded = new Map();
        if (new Set(records.map((one) => one.name)).size < records.length)
            throw wrong("the index has a name twice");
        for (const one of records) {
            if (one.store === "solid" && !(whole(one.solid) && one.solid < solids.length))
                throw wrong(`tensor "${String(one.name).slice(0, 100)}": in a group that is not there`);
            if (one.store === "kept" && one.as !== undefined && !Object.hasOwn(BITS, one.as))
                throw wrong(`tensor "${String(one.name).slice(0, 100)}": kept in a dtype that is not known`);
            one.values = sound(one.name, one.dtype, one.shape);
            one.bytes = Math.ceil(one.values * BITS[one.dtype] / 8);
            if (one.store === "solid")
                decoded.set(one.solid, (decoded.get(one.solid) ?? 0) + one.bytes);
        }
        const tensors = records.map((one) => ({
            name: one.name, dtype: one.dtype, shape: one.shape, values: one.values, bytes: one.bytes,
            scheme: String(one.scheme ?? ""), sameAs: one.store === "alias" ? String(one.of) : null,
            error: level(one.rel_mse, first),
            // Of a group that many tensors share, each has its part by size.
            fileBytes: one.store === "alias" || one.store === "base" ? 0 : one.store === "kept" ? one.bytes * (BITS[one.as] ?? BITS[one.dtype]) / BITS[one.dtype] :
                one.store === "solid" ? (solidBytes[one.solid] ?? 0) * one.bytes / (decoded.get(one.solid) || 1) :
                    sized(one)
        }));
        const known = whole(source.bytes) ? source.bytes : null;
        const base = index.base === undefined ? null : String(index.base?.name ?? "");
        return {format: `Taut ${metadata.taut}`, metadata: source.metadata ?? {}, tensors, original: known, modules, header: last.end, base};
    }

    function record(row, kinds) {
        if (!Array.isArray(row) || typeof kinds[row[0]] !== "object" || kinds[row[0]] === null)
            throw wrong("the index has a row without a kind");
        const kind = kinds[row[0]];
        const owns = {coded: ["sum", "parts"], packed: ["lengths"], kept: ["sum"], solid: [], alias: ["of"], base: []};
        const own = Object.hasOwn(owns, kind.store) ? owns[kind.store] : undefined;
        if (!own)
            throw wrong(`the index has a store that is not known: ${String(kind.store).slice(0, 20)}`);
        if (![undefined, "delta", "sum"].includes(kind.base))
            throw wrong(`the index has a base that is not known: ${String(kind.base).slice(0, 20)}`);
        const found = {...kind, name: row[1], shape: row[2]};
        // Of a delta the base's tensor comes behind the shape.
        const based = kind.base !== undefined || kind.store === "base" ? ["based"] : [];
        for (const [k, key] of [...based, ...own, "rel_mse"].entries())
            found[key] = row[3 + k];
        return found;
    }

    function total(parts) {
        if (!Array.isArray(parts))
            throw wrong("the index has a coded tensor without parts");
        const sizes = parts.map((one) => Array.isArray(one) ? one[0] : one);
        if (!sizes.every(whole))
            throw wrong("the index has a part without a length");
        return sizes.reduce((sum, one) => sum + one, 0);
    }

    /** A whole number stands for a power of ten, in version 2. */
    const level = (error, first) => error === undefined ? 0 : typeof error !== "number" ? null :
        !first && Number.isInteger(error) ? 10 ** (-error / 100) : error;

    // GGUF: by ggml's type its name, values a block, bytes a block.
    const TYPES = {
        0: ["F32", 1, 4], 1: ["F16", 1, 2], 2: ["Q4_0", 32, 18], 3: ["Q4_1", 32, 20], 6: ["Q5_0", 32, 22], 7: ["Q5_1", 32, 24],
        8: ["Q8_0", 32, 34], 9: ["Q8_1", 32, 36], 10: ["Q2_K", 256, 84], 11: ["Q3_K", 256, 110], 12: ["Q4_K", 256, 144],
        13: ["Q5_K", 256, 176], 14: ["Q6_K", 256, 210], 15: ["Q8_K", 256, 292], 16: ["IQ2_XXS", 256, 66], 17: ["IQ2_XS", 256, 74],
        18: ["IQ3_XXS", 256, 98], 19: ["IQ1_S", 256, 50], 20: ["IQ4_NL", 32, 18], 21: ["IQ3_S", 256, 110], 22: ["IQ2_S", 256, 82],
        23: ["IQ4_XS", 256, 136], 24: ["I8", 1, 1], 25: ["I16", 1, 2], 26: ["I32", 1, 4], 27: ["I64", 1, 8], 28: ["F64", 1, 8],
        29: ["IQ1_M", 256, 56], 30: ["BF16", 1, 2], 34: ["TQ1_0", 256, 54], 35: ["TQ2_0", 256, 66], 39: ["MXFP4", 32, 17]
    };
    const SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8};
    const LONGEST = 2000;  // characters of a text that is kept

    class Cut extends Error {}

    async function gguf(file) {
        for (let size = 1 << 20; ; size *= 4) {
            const bytes = await read(file, 0, size);
            try {
                return header(bytes, file.size);
            } catch (error) {
                if (!(error instanceof Cut))
                    throw error;
                if (bytes.length === file.size || size >= MOST_HEADER * 4)
                    throw wrong("the GGUF header is cut, or larger than this page reads");
            }
        }
    }

    function header(bytes, fileSize) {
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
        let at = 4;
        const go = (n) => {
            if (!(at + n <= bytes.length))
                throw new Cut();
            at += n;
            return at - n;
        };
        const int = () => view.getUint32(go(4), true);
        const long = () => Number(view.getBigUint64(go(8), true));
        const text = () => {
            const length = long();
            const from = go(length);
            return new TextDecoder().decode(bytes.subarray(from, from + Math.min(length, LONGEST)));
        };
        const version = int();
        if (version !== 2 && version !== 3)
            throw wrong(`GGUF version ${version}; this page reads 2 and 3`);
        const [count, pairs] = [long(), long()];
        const metadata = {};
        const value = (type, depth = 0) => {
            if (depth > 8)
                throw wrong("lists within lists within lists in the GGUF header");
            if (type === 8)
                return text();
            if (type !== 9) {
                if (!SIZES[type])
                    throw wrong(`a value of type ${type} in the GGUF header`);
                const from = go(SIZES[type]);
                return {
                    0: () => view.getUint8(from), 1: () => view.getInt8(from), 2: () => view.getUint16(from, true),
                    3: () => view.getInt16(from, true), 4: () => view.getUint32(from, true), 5: () => view.getInt32(from, true),
                    6: () => view.getFloat32(from, true), 7: () => view.getUint8(from) !== 0, 10: () => view.getBigUint64(from, true),
                    11: () => view.getBigInt64(from, true), 12: () => view.getFloat64(from, true)
                }[type]();
            }
            const [inner, length] = [int(), long()];
            if (SIZES[inner])
                go(SIZES[inner] * length);
            else {
                for (let k = 0; k < length; k++)
                    value(inner, depth + 1);
            }
            return `${length} values`;
        };
        for (let k = 0; k < pairs; k++) {
            const key = text();
            metadata[key] = String(value(int()));
        }
        const tensors = [];
        for (let k = 0; k < count; k++) {
            const name = text(), dimensions = int();
            if (dimensions > 32)
                throw wrong(`tensor "${name.slice(0, 100)}": ${dimensions} dimensions`);
            const shape = Array.from({length: dimensions}, long).reverse();
            const type = int();
            go(8);
            const [dtype, block, size] = TYPES[type] ?? [`type ${type}`, 1, 0];
            const values = product(shape), fileBytes = values / block * size;
            if (!whole(values) || fileBytes > fileSize)
                throw wrong(`tensor "${name.slice(0, 100)}": larger than the file`);
            const narrow = size / block >= 2 && block === 1;
            tensors.push({name, dtype, shape, values, bytes: narrow ? fileBytes : 4 * values, scheme: block > 1 ? dtype : "",
                fileBytes, error: null, sameAs: null});
        }
        return {format: `GGUF ${version}`, metadata, tensors, original: null, header: at};
    }
})();
