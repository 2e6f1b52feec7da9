// One instance of libtaut in WebAssembly, which holds one file. No call of it waits: a byte that is not here yet makes
// the call fail, and `missing` says which it was.
import {STATUSES, TautError} from "./errors.js";

// A module that adds vectors of 128 bits: an engine without them refuses it.
const VECTORS = new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11
]);
const EBADF = 8;
let compiled;

/** Whether this engine has 128-bit vectors. */
export const hasVectors = () => WebAssembly.validate(VECTORS);

/** Take another WebAssembly module for all files to come: its bytes, where it lies, or compiled. */
export function useModule(module) {
    compiled = module === undefined ? undefined : compile(module);
    compiled?.catch(() => {});  // told to whoever opens a file
}

export const onNode = typeof process === "object" && Boolean(process.versions?.node);

async function compile(module) {
    if (module instanceof WebAssembly.Module)
        return module;
    if (module instanceof ArrayBuffer || ArrayBuffer.isView(module))
        return WebAssembly.compile(module);
    const url = new URL(module, globalThis.document?.baseURI ?? globalThis.location?.href ?? import.meta.url);
    if (onNode && url.protocol === "file:") {
        const {readFile} = await import("node:fs/promises");
        return WebAssembly.compile(await readFile(url));
    }
    const answer = await fetch(url);
    if (!answer.ok)
        throw new TautError("read", `${url}: HTTP ${answer.status}; the .wasm files must lie beside taut's index.js`);
    return WebAssembly.compile(await answer.arrayBuffer());
}

function defaultModule() {
    // Both spelled out: bundlers look for this very form.
    return hasVectors() ? new URL("./taut-simd.wasm", import.meta.url) : new URL("./taut.wasm", import.meta.url);
}

export class Engine {
    /** Bytes begin .. begin + size, or null where they are not here; set by whoever owns the file. */
    lookup = () => null;
    /** Takes what the file writes; false refuses it. */
    take = () => false;
    /** Hears where bytes lie that will be asked for: their beginning, and how many. */
    want = () => {};
    /** The bytes of a tensor of the base, or null where they are not here. */
    ofBase = () => null;
    /** The bytes that the last call did not find: [begin, size]; and the base's tensor: [name, size]. */
    missing = null;
    lacking = null;
    #wasm;
    #broken = null;

    static async start() {
        compiled ??= compile(defaultModule());
        let module;
        try {
            module = await compiled;
        } catch (error) {
            compiled = undefined;
            throw error;
        }
        const engine = new Engine();
        const instance = await WebAssembly.instantiate(module, engine.#imports());
        engine.#wasm = instance.exports;
        engine.#wasm._initialize?.();
        return engine;
    }

    #imports() {
        const bad = () => EBADF;
        return {
            taut: {
                read: (offset, to, size) => {
                    const found = this.lookup(offset, size >>> 0);
                    if (found === null) {
                        this.missing = [offset, size >>> 0];
                        return 1;
                    }
                    this.bytes(to, size).set(found);
                    return 0;
                },
                base: (name, nameSize, to, size) => {
                    const wanted = this.text(name, nameSize);
                    const found = this.ofBase(wanted);
                    if (found?.length !== size >>> 0) {
                        this.lacking = [wanted, size >>> 0];
                        return 1;
                    }
                    this.bytes(to, size).set(found);
                    return 0;
                },
                want: (offset, size) => this.want(offset, size),
                write: (from, size) => this.take(this.bytes(from, size)) ? 0 : 1
            },
            wasi_snapshot_preview1: new Proxy({}, {get: () => bad})
        };
    }

    /** Bytes of its memory; good until the next call. */
    bytes(at, size) {
        return new Uint8Array(this.#wasm.memory.buffer, at >>> 0, size >>> 0);
    }
    get view() {
        return new DataView(this.#wasm.memory.buffer);
    }
    text(at, size) {
        return new TextDecoder().decode(this.bytes(at, size ?? this.#length(at)).slice());
    }
    #length(at) {
        const memory = new Uint8Array(this.#wasm.memory.buffer);
        return memory.indexOf(0, at >>> 0) - (at >>> 0);
    }

    /** Call one of its functions. A trap, which no file should cause, ends the use of this instance. */
    call(name, ...values) {
        if (this.#broken)
            throw new TautError("argument", `the file is closed: ${this.#broken}`);
        this.missing = this.lacking = null;
        try {
            return this.#wasm[name](...values);
        } catch (error) {
            this.#broken = String(error);
            throw new TautError("format", `the decoder stopped (${error}); please report the file`, {cause: error});
        }
    }

    /** Throw what a status says. */
    check(status, where) {
        if (status === 0)
            return;
        const code = STATUSES[status] ?? "format";
        throw new TautError(code, `${where}: ${this.text(this.call("error"))}`);
    }

    release(at) {
        if (!this.#broken)
            this.call("release", at);
    }

    /** XXH3 of 64 bits as 16 digits. */
    checksum(bytes) {
        const at = this.call("allocate", Math.max(1, bytes.length)) >>> 0;
        if (at === 0)
            throw new TautError("memory", `no memory for ${bytes.length} bytes`);
        this.bytes(at, bytes.length).set(bytes);
        const digits = this.text(this.call("checksum", at, bytes.length), 16);
        this.release(at);
        return digits;
    }

    /** Give all its memory back. */
    close(why = "close() was called") {
        this.#broken ??= why;
        this.#wasm = {memory: {buffer: new ArrayBuffer(0)}};
        this.lookup = this.ofBase = () => null;
    }
}
