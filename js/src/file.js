// A Taut file. libtaut asks for bytes in the middle of a call and cannot wait for them: then the call fails, the bytes
// are fetched, as far as the tensor's entry goes, and the call is made again.
import {form} from "./arrays.js";
import {Engine} from "./engine.js";
import {TautError} from "./errors.js";
import {Held} from "./held.js";
import {bytesOf, joined, sourceOf} from "./source.js";
import {listened, said, unlessAborted} from "./waiting.js";

const PIECE = 16 << 20;  // bytes that are decoded at a time
const AHEAD = 1 << 20;  // of rows of a large tensor, what is fetched beyond what was asked for
const STORE = {digits: 40, header: 8};

export const LIMIT = 2 ** 30;

/** Open one file; `told` hears of what comes over the network. */
export async function openFile(what, options) {
    const {memoryLimit = LIMIT, onProgress} = options ?? {};
    const signal = listened(options?.signal);
    if (!(Number.isSafeInteger(memoryLimit) && memoryLimit > 0))
        throw new TautError("argument", `memoryLimit: ${memoryLimit} is no number of bytes`);
    let loaded = 0;
    const told = (bytes, total) => {
        loaded += bytes;
        onProgress?.({loaded, total});
    };
    const held = new Held(sourceOf(what, {...options, limit: memoryLimit, told}));
    const [engine] = await Promise.all([Engine.start(), held.begin(signal)]);
    const file = new TautFile(held, engine, memoryLimit, options?.base);
    try {
        await file.start(signal);
    } catch (error) {
        await file.close();
        throw error;
    }
    return file;
}

export class TautFile {
    #held;
    #engine;
    #limit;
    #entries = [];  // [begin, end] of every entry of the header, in order
    #numbers = new Map();
    #base;
    #ofBase = new Map();  // bytes of the base's tensors, as long as they are needed

    constructor(held, engine, limit, base) {
        this.#held = held;
        this.#engine = engine;
        this.#limit = limit;
        this.#base = base ?? null;
        engine.ofBase = (name) => this.#ofBase.get(name) ?? null;
        engine.lookup = (begin, size) => begin + size > held.size ? null : held.lookup(begin, size);
    }

    /** Read header and index. */
    async start(signal) {
        await this.#until(() => this.#engine.call("open", this.size, this.#limit), signal, this.name);
        this.#entries = await this.#layout(signal);
        const found = [];
        for (let number = 0; number < this.#engine.call("count"); number++) {
            found.push(this.#describe(number));
            this.#numbers.set(found[number].name, number);
        }
        for (const one of found)
            one.sameAs = one.sameAs === null ? null : found[one.sameAs].name;
        this.tensors = Object.freeze(found.map(Object.freeze));
        this.modules = this.#modules();
        const base = this.#engine.call("base_name");
        this.baseName = base === 0 ? null : this.#engine.text(base);
        this.#drop();
    }

    get name() {
        return this.#held.source.name;
    }
    get size() {
        return this.#held.size;
    }
    /** The most bytes that the decoder held at once, the tensors' values apart. */
    get peakMemory() {
        return this.#engine.call("peak");
    }

    /** What is known of a tensor; throws where there is none of that name. */
    info(name) {
        return this.tensors[this.#number(name)];
    }

    has(name) {
        return this.#numbers.has(name);
    }

    /** A tensor's values, or some rows of them, as a typed array. */
    async get(name, options) {
        const {as = "own", rows} = options ?? {};
        const signal = listened(options?.signal);
        const number = this.#number(name);
        const info = this.tensors[number];
        const [first, last] = rowRange(info, rows);
        const {kind, make} = form(info.dtype, as);
        const bytes = this.#engine.call("size", number, last - first, kind);
        const {out, to} = this.#made(info, as, make, bytes);
        const whole = first === 0 && last === (info.shape[0] ?? 1);
        const step = Math.max(1, Math.floor(PIECE / Math.max(1, bytes / Math.max(1, last - first))));
        for (let at = first, done = 0; at < last; at += step) {
            const some = Math.min(step, last - at);
            const size = this.#engine.call("size", number, some, kind);
            await this.#decode(number, at, some, kind, to.subarray(done, done + size), whole, signal);
            done += size;
        }
        if (first === last)  // nothing to decode; its checksums may still be wrong
            await this.#decode(number, first, 0, kind, to, whole, signal);
        this.#drop();
        return out;
    }

    /**
     * Chosen rows of a tensor, as a typed array: row k of it is row rows[k]. They come in any order, and as often as wanted; each
     * chunk that holds some of them is decoded once.
     */
    async gather(name, rows, options) {
        const {as = "own"} = options ?? {};
        const signal = listened(options?.signal);
        const number = this.#number(name);
        const info = this.tensors[number];
        const wanted = rowNumbers(info, rows);
        const {kind, make} = form(info.dtype, as);
        const row = this.#engine.call("size", number, Math.min(1, info.shape[0] ?? 1), kind);
        const {out, to} = this.#made(info, as, make, row < 0 ? row : row * wanted.length);
        const order = Array.from(wanted.keys()).sort((a, b) => wanted[a] - wanted[b]);
        const step = Math.max(1, Math.floor(PIECE / Math.max(1, row)));
        for (let done = 0; done === 0 || done < order.length; done += step) {
            const places = order.slice(done, done + step);
            const found = await this.#rising(number, places.map((place) => BigInt(wanted[place])), row, kind, signal);
            for (const [k, place] of places.entries())
                to.set(found.subarray(k * row, (k + 1) * row), place * row);
        }
        this.#drop();
        return out;
    }

    /** The whole numbers of a rounded tensor, and what makes values of them (docs/web.md). */
    async grid(name, options) {
        const signal = listened(options?.signal);
        const number = this.#number(name);
        const where = `tensor "${name}"`;
        await this.#until(() => this.#engine.call("grid", number), signal, where, true);
        const grid = this.#grid();
        const {rows, columns, values, groups, levels} = grid;
        const sizes = [values, rows * groups, rows * groups, columns, levels];
        const bytes = sizes.reduce((sum, one) => sum + 4 * one, 0);
        if (bytes > this.#limit)
            throw new TautError("memory", `${where}: ${bytes} bytes; memoryLimit is ${this.#limit}`);
        const parts = await this.#inRoom(bytes, async (at) => {
            const places = sizes.map((_, k) => at + 4 * sizes.slice(0, k).reduce((sum, one) => sum + one, 0));
            await this.#until(() => this.#engine.call("grid_decode", number, rows, ...places), signal, where, true);
            return places.map((place, k) => this.#engine.bytes(place, 4 * sizes[k]).slice().buffer);
        });
        const [integers, scales, zeros, columnScales, found] = parts;
        this.#drop();
        return {
            ...grid, integers: new Int32Array(integers), scales: new Float32Array(scales), zeros: new Int32Array(zeros),
            columnScales: new Float32Array(columnScales), levels: new Float32Array(found)
        };
    }

    /** Have all bytes here, in one request. */
    async load(options) {
        const signal = listened(options?.signal);
        await this.#held.need(0, this.size, signal);
        return this;
    }

    /** Check every byte and decode everything, against every checksum. */
    async verify(options) {
        const {decodedLimit = 2 ** 34} = options ?? {};
        const signal = listened(options?.signal);
        const bytes = this.tensors.reduce((sum, one) => sum + (one.sameAs === null ? one.bytes : 0), 0);
        if (bytes > decodedLimit)
            throw new TautError("unsupported", `${this.name}: decodes to ${bytes} bytes; decodedLimit is ${decodedLimit}`);
        await this.load({signal});
        await this.#haveBase(signal);
        await this.#until(() => this.#engine.call("verify"), signal, this.name);
        this.#drop();
    }

    /** The files that were compressed, as [{name, bytes}]: safetensors, or an ONNX model and its data. */
    async originals(options) {
        const signal = listened(options?.signal);
        await this.load({signal});
        await this.#haveBase(signal);
        let count = 0;
        await this.#until(() => {
            count = this.#engine.call("originals");
            return count < 0 ? -count : 0;
        }, signal, this.name);
        const names = Array.from({length: count}, (_, number) => {
            const at = this.#engine.call("original_name", number);
            if (at === 0)
                this.#engine.check(1, this.name);
            return this.#engine.text(at);
        });
        let size = 0;
        const found = [];
        for (const [number, name] of names.entries()) {
            signal?.throwIfAborted();
            const before = size;
            let parts;
            const take = (bytes) => {
                size += bytes.length;
                if (size > this.#limit)
                    return false;
                parts.push(bytes.slice());
                return true;
            };
            try {
                await this.#until(() => {
                    parts = [];  // what was written before something lacked is written again
                    size = before;
                    this.#engine.take = take;
                    return this.#engine.call("original", number);
                }, signal, `${this.name}: ${name}`);
            } catch (error) {
                throw error.code === "write" ?
                    new TautError("memory", `${this.name}: ${name}: over ${this.#limit} bytes; raise memoryLimit`) : error;
            }
            found.push({name, bytes: joined(parts, parts.reduce((sum, one) => sum + one.length, 0))});
        }
        this.#drop();
        return found;
    }

    /** The ONNX model that was compressed: one file's bytes, which onnxruntime-web takes. */
    async toOnnx(options) {
        const [model, ...data] = await this.originals(options);
        if (!this.isOnnx(model))
            throw new TautError("argument", `${this.name}: was not made of an ONNX model; compress the .onnx to have it here`);
        if (data.length > 0)
            throw new TautError("argument", `${this.name}: the model's weights lay in ${data.length} files beside it; take ` +
                "originals() and give them to onnxruntime-web as externalData");
        return model.bytes;
    }

    /** The safetensors file that was compressed, or one with the same tensors. */
    async toSafetensors(options) {
        const [model, ...others] = await this.originals(options);
        const what = others.length ? "several files" : isGguf(model) ? "a GGUF model" : this.isOnnx(model) && "an ONNX model";
        if (what)
            throw new TautError("argument", `${this.name}: was made of ${what}; take originals()`);
        return model.bytes;
    }

    /** Give memory back; the file cannot be used any more. */
    async close() {
        this.#engine.close();
        await this.#held.close();
    }

    /** Whether one of the originals is an ONNX model: a safetensors file has a brace behind the length of its header. */
    isOnnx(original) {
        if (original === undefined || isGguf(original))
            return false;
        return /\.onnx$/i.test(original.name) || original.bytes[8] !== 0x7b;
    }

    #number(name) {
        const number = this.#numbers.get(name);
        if (number === undefined)
            throw new TautError("argument", `${this.name}: no tensor "${String(name)}"`);
        return number;
    }

    /** Decode rows into `to`; of a whole tensor the whole entry is fetched at once. */
    async #decode(number, first, rows, kind, to, whole, signal) {
        await this.#inRoom(to.length, async (at) => {
            const decode = () => this.#engine.call("decode", number, first, rows, kind, at, to.length);
            await this.#until(decode, signal, `${this.name}: tensor "${this.tensors[number].name}"`, whole);
            to.set(this.#engine.bytes(at, to.length));
        });
    }

    /** Rows by numbers that rise, of `row` bytes each; of a coded tensor the chunks that hold them are fetched, all at once. */
    async #rising(number, rows, row, kind, signal) {
        const where = `${this.name}: tensor "${this.tensors[number].name}"`;
        const list = 8 * rows.length, size = rows.length * row;
        return this.#inRoom(list + size, async (at) => {
            this.#engine.bytes(at, list).set(new Uint8Array(BigUint64Array.from(rows).buffer));
            const chunks = [];
            await this.#until(() => {
                this.#engine.want = (begin, bytes) => chunks.push([begin, begin + bytes]);
                return this.#engine.call("chunks_of", number, at, rows.length);
            }, signal, where, false);
            await Promise.all(chunks.map(([begin, end]) => this.#held.need(begin, Math.min(end, this.size), signal)));
            await this.#until(() => this.#engine.call("gather", number, at, rows.length, kind, at + list, size), signal, where);
            return this.#engine.bytes(at + list, size).slice();
        });
    }

    /** An array of so many bytes for a tensor, or for part of it; below 0 it cannot be given as `as`. */
    #made(info, as, make, bytes) {
        if (bytes < 0)
            throw new TautError("unsupported", `tensor "${info.name}": ${info.dtype} cannot be given as ${as}; ask as: "bits"`);
        if (bytes > this.#limit)
            throw new TautError("memory", `tensor "${info.name}": ${bytes} bytes; memoryLimit is ${this.#limit}`);
        const out = new make(bytes / make.BYTES_PER_ELEMENT);
        return {out, to: new Uint8Array(out.buffer)};
    }

    async #inRoom(size, act) {
        const at = this.#engine.call("allocate", Math.max(1, size)) >>> 0;
        if (at === 0)
            throw new TautError("memory", `${this.name}: no memory for ${size} bytes`);
        try {
            return await act(at);
        } finally {
            this.#engine.release(at);
        }
    }

    /** Call `act` until it needs no bytes that are not here. */
    async #until(act, signal, where, whole = true) {
        for (let ahead = AHEAD; ; ahead *= 2) {
            signal?.throwIfAborted();
            const status = act();
            const {missing, lacking} = this.#engine;
            if (lacking !== null && status !== 0) {
                await this.#takeBase(...lacking, where, signal);
                continue;
            }
            if (missing === null || STATUS_READ !== status)
                return this.#engine.check(status, where);
            const [begin, size] = missing;
            if (begin + size > this.size)
                throw new TautError("format", `${where}: ends at ${this.size}, before ${begin + size}`);
            await this.#held.need(begin, Math.max(begin + size, this.#reach(begin, whole ? Infinity : ahead)), signal);
        }
    }

    /** Have all of a delta's base here, tensor by tensor, so that what wants all of it is not begun anew for each. */
    async #haveBase(signal) {
        for (let number = 0; this.baseName !== null && number < this.tensors.length; number++)
            await this.#decode(number, 0, 0, 0, new Uint8Array(0), true, signal);
    }

    /** Have the bytes of a tensor of the base here. */
    async #takeBase(name, size, where, signal) {
        const base = this.#base;
        if (typeof base !== "function" && typeof base?.get !== "function")
            throw new TautError("argument", `${where}: is a delta, and its base "${this.baseName}" was not given: open(what, {base})`);
        let found;
        try {
            found = await unlessAborted(typeof base === "function" ? base(name) : base.get(name, {as: "bits", signal}), signal);
        } catch (error) {
            signal?.throwIfAborted();
            throw error instanceof TautError ? error :
                new TautError("read", `${where}: the base's "${name}": ${said(error)}`, {cause: error});
        }
        const bytes = bytesOf(found, `the base's "${name}"`);
        if (bytes.length !== size)
            throw new TautError("argument", `${where}: the base has ${bytes.length} bytes of "${name}", not ${size}; ` +
                "give the one that the file was made with");
        this.#ofBase.set(name, bytes);
    }

    /** Forget what can be had again. */
    #drop() {
        this.#held.drop();
        this.#ofBase.clear();
    }

    /** Where the entry that holds a byte ends, or `most` bytes on. */
    #reach(begin, most) {
        const entry = this.#entries.find(([from, to]) => from <= begin && begin < to);
        return entry ? Math.min(entry[1], begin + most) : begin;
    }

    /** Where the entries lie: libtaut has checked the header, so that its JSON is sound, unless the source gives another one now. */
    async #layout(signal) {
        try {
            return await this.#entriesOf(signal);
        } catch (error) {
            signal?.throwIfAborted();
            throw error instanceof TautError ? error :
                new TautError("read", `${this.name}: the file was changed while it was read; open it again`, {cause: error});
        }
    }

    async #entriesOf(signal) {
        await this.#held.need(0, STORE.header, signal);
        const length = new DataView(this.#held.lookup(0, STORE.header).slice().buffer).getUint32(0, true);
        const body = STORE.header + length;
        await this.#held.need(0, body, signal);
        this.headerChecksum = new TextDecoder().decode(this.#held.lookup(STORE.header + STORE.digits, 16).slice());
        const header = JSON.parse(new TextDecoder().decode(this.#held.lookup(STORE.header, length).slice()));
        return Object.entries(header).filter(([name]) => name !== "__metadata__")
            .map(([, {data_offsets: [begin, end]}]) => [body + begin, body + end]);
    }

    #describe(number) {
        const at = this.#engine.call("describe", number);
        const view = this.#engine.view;
        const word = (offset) => view.getUint32(at + offset, true);
        const long = (offset) => Number(view.getBigUint64(at + offset, true));
        const shape = Array.from({length: word(20)}, (_, k) => Number(view.getBigUint64(word(16) + 8 * k, true)));
        return {
            name: this.#engine.text(word(0), word(4)), dtype: this.#engine.text(word(8)), shape: Object.freeze(shape),
            scheme: this.#engine.text(word(12)), values: long(24), bytes: long(32), fileBytes: long(40),
            error: view.getFloat64(at + 48, true), sameAs: word(56) === number ? null : word(56), tied: word(60) !== 0
        };
    }

    #grid() {
        const at = this.#engine.call("grid_at");
        const view = this.#engine.view;
        const long = (offset) => Number(view.getBigUint64(at + offset, true));
        return {
            kind: view.getInt32(at, true) === 1 ? "product" : "sum", rows: long(8), columns: long(16), values: long(24),
            group: long(32), groups: long(40), offsets: [0, 1, 2].map((k) => view.getFloat32(at + 48 + 4 * k, true)),
            trellis: view.getInt32(at + 60, true) !== 0, firstLevel: view.getInt32(at + 64, true), levels: long(72)
        };
    }

    #modules() {
        const found = new Map();
        for (let number = 0; number < this.#engine.call("attributes"); number++) {
            const at = this.#engine.call("attribute", number);
            const view = this.#engine.view;
            const [module, name] = [0, 4].map((offset) => this.#engine.text(view.getUint32(at + offset, true)));
            if (!found.has(module))
                found.set(module, new Map());
            found.get(module).set(name, Number(view.getBigInt64(at + 8, true)));
        }
        return found;
    }
}

const STATUS_READ = 2;

function rowRange(info, rows) {
    const all = info.shape.length ? info.shape[0] : 1;
    if (rows === undefined || rows === null)
        return [0, all];
    if (!Array.isArray(rows))
        throw new TautError("argument", `tensor "${info.name}": rows is [first, last]`);
    const [first, last = all] = rows;
    if (!(Number.isSafeInteger(first) && Number.isSafeInteger(last) && first >= 0 && first <= last && last <= all))
        throw new TautError("argument", `tensor "${info.name}": rows ${first} to ${last} of ${all}`);
    return [first, last];
}

function rowNumbers(info, rows) {
    const all = info.shape.length ? info.shape[0] : 1;
    if (!Array.isArray(rows) && !(ArrayBuffer.isView(rows) && typeof rows.length === "number"))
        throw new TautError("argument", `tensor "${info.name}": rows are a list of numbers`);
    const found = [];
    for (let k = 0; k < rows.length; k++) {
        const number = typeof rows[k] === "bigint" ? Number(rows[k]) : rows[k];
        if (!(Number.isSafeInteger(number) && number >= 0 && number < all))
            throw new TautError("argument", `tensor "${info.name}": row ${String(rows[k])} of ${all}`);
        found.push(number);
    }
    return found;
}

/** Whether one of the originals is a GGUF model, which begins with its name. */
function isGguf(original) {
    return original !== undefined && String.fromCharCode(...original.bytes.subarray(0, 4)) === "GGUF";
}
