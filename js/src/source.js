// Where a file's bytes come from. A source has `name`, `size` (known after `begin`), `remote`, and
//     begin(signal)            its first bytes, or all of them
//     read(begin, end, signal) some, or { whole } where only all are to be had
import {onNode} from "./engine.js";
import {TautError} from "./errors.js";
import {said, unlessAborted} from "./waiting.js";

const FIRST = 1 << 16;  // what is asked for at first: header and index of most files up to 64 kB

export function sourceOf(what, options) {
    if (what instanceof ArrayBuffer || (typeof SharedArrayBuffer === "function" && what instanceof SharedArrayBuffer))
        return new Held(bytesOf(what, "bytes"), "bytes");
    if (ArrayBuffer.isView(what))
        return new Held(bytesOf(what, "bytes"), "bytes");
    if (typeof Blob === "function" && what instanceof Blob)
        return new Local(what.name ?? "blob", what.size, async (begin, end) => what.slice(begin, end).arrayBuffer());
    if (typeof Response === "function" && what instanceof Response)
        return new Remote(what.url || "response", options, what);
    if (typeof what === "string" || what instanceof URL) {
        const text = String(what);
        if (onNode && (what instanceof URL ? what.protocol === "file:" : !/^(https?|data|blob):/i.test(text)))
            return new Path(/^file:/i.test(text) ? new URL(text) : text);
        return new Remote(text, options);
    }
    if (typeof what?.read === "function" && Number.isSafeInteger(what.size) && what.size >= 0)
        return new Given(what.name ?? "source", what.size, (begin, end, signal) => what.read(begin, end - begin, signal));
    throw new TautError("argument", "open() takes a URL, a path (in Node), bytes, a Blob, a Response, or {size, read}");
}

/** The bytes of a buffer, of any realm, or of a view of one; throws where it is neither, or was given away. */
export function bytesOf(what, name) {
    const [buffer, ...where] = ArrayBuffer.isView(what) ? [what.buffer, what.byteOffset, what.byteLength] : [what];
    if (!/^\[object (Shared)?ArrayBuffer\]$/.test(Object.prototype.toString.call(buffer)))
        throw new TautError("read", `${name}: gave no bytes (an ArrayBuffer or a typed array)`);
    try {
        return new Uint8Array(buffer, ...where);
    } catch (error) {
        throw new TautError("read", `${name}: its memory is not there any more (${said(error)})`, {cause: error});
    }
}

/** Bytes that are here already; not copied. */
class Held {
    remote = false;
    constructor(bytes, name) {
        Object.assign(this, {bytes, name, size: bytes.length});
    }
    async begin() {
        return {at: 0, bytes: this.bytes};
    }
    async read() {
        return {whole: this.bytes};
    }
}

/** A file of this machine, or whatever else reads at once. */
class Local {
    remote = false;
    constructor(name, size, get) {
        Object.assign(this, {name, size, get});
    }
    async begin(signal) {
        return {at: 0, bytes: (await this.read(0, Math.min(FIRST, this.size), signal)).bytes};
    }
    async read(begin, end, signal) {
        signal?.throwIfAborted();
        let found;
        try {
            found = await unlessAborted(this.get(begin, end, signal), signal);
        } catch (error) {
            signal?.throwIfAborted();
            throw new TautError("read", `${this.name}: ${said(error)}`, {cause: error});
        }
        signal?.throwIfAborted();
        const bytes = bytesOf(found, this.name);
        if (bytes.length !== end - begin)
            throw new TautError("read", `${this.name}: ${bytes.length} bytes at ${begin}, not ${end - begin}`);
        return {bytes};
    }
}

/** What somebody else reads, perhaps into the same buffer again: the bytes are copied. */
class Given extends Local {
    async read(begin, end, signal) {
        const {bytes} = await super.read(begin, end, signal);
        return {bytes: bytes.slice()};
    }
}

/** A path, in Node. */
class Path extends Local {
    #file;
    constructor(path) {
        super(path instanceof URL ? path.pathname : path, 0, (begin, end) => this.#get(begin, end));
        this.path = path;
    }
    async begin(signal) {
        const {open} = await import("node:fs/promises");
        try {
            this.#file = await open(this.path);
            this.size = (await this.#file.stat()).size;
            return await super.begin(signal);
        } catch (error) {
            await this.close();
            throw error instanceof TautError ? error :
                missing(error.code === "ENOENT", new TautError("read", error.message, {cause: error}));
        }
    }
    async #get(begin, end) {
        const bytes = new Uint8Array(end - begin);
        let done = 0;
        while (done < bytes.length) {
            const {bytesRead} = await this.#file.read(bytes, done, bytes.length - done, begin + done);
            if (bytesRead === 0)
                break;
            done += bytesRead;
        }
        return bytes.subarray(0, done);
    }
    async close() {
        await this.#file?.close();
        this.#file = undefined;
    }
}

/** A URL, by ranges where its server has them. */
class Remote {
    remote = true;
    size = undefined;
    #tag;
    constructor(name, {fetch: get, headers, whole, limit, told}, response) {
        Object.assign(this, {name, get: get ?? ((...all) => fetch(...all)), headers, whole, limit, told, response});
    }

    async begin(signal) {
        if (this.response)
            return this.#all(this.response, signal);
        if (this.whole)
            return this.#all(await this.#ask({}, signal), signal);
        const answer = await this.#ask({Range: `bytes=0-${FIRST - 1}`}, signal);
        if (answer.status !== 206)
            return this.#all(answer, signal);
        const range = this.#range(answer);
        if (range === null || range.begin !== 0) {  // another origin that does not say how large it is
            answer.body?.cancel().catch(() => {});
            return this.#all(await this.#ask({}, signal), signal);
        }
        this.size = range.total;
        this.#tag = answer.headers.get("etag") ?? answer.headers.get("last-modified");
        return {at: 0, bytes: await this.#body(answer, Math.min(FIRST, range.total), signal)};
    }

    async read(begin, end, signal) {
        const answer = await this.#ask({Range: `bytes=${begin}-${end - 1}`}, signal);
        if (answer.status === 200) {
            const {size} = this;
            const {bytes} = await this.#all(answer, signal);
            if (bytes.length !== size)
                throw new TautError("read", `${this.name}: the file was changed while it was read; open it again`);
            return {whole: bytes};
        }
        const range = this.#range(answer);
        const tag = answer.headers.get("etag") ?? answer.headers.get("last-modified");
        if ((range && range.total !== this.size) || tag !== this.#tag) {
            answer.body?.cancel().catch(() => {});
            throw new TautError("read", `${this.name}: the file was changed while it was read; open it again`);
        }
        if (answer.status !== 206 || (range && range.begin !== begin)) {
            answer.body?.cancel().catch(() => {});
            throw new TautError("read", `${this.name}: other bytes than asked for (${begin} to ${end})`);
        }
        return {bytes: await this.#body(answer, end - begin, signal)};
    }

    async #ask(headers, signal) {
        let answer;
        try {
            answer = await unlessAborted(this.get(this.name, {headers: {...this.headers, ...headers}, signal}), signal);
        } catch (error) {
            signal?.throwIfAborted();
            throw missing(true, new TautError("read", `${this.name}: ${said(error)}`, {cause: error}));
        }
        if (typeof answer?.headers?.get !== "function")
            throw new TautError("read", `${this.name}: fetch gave no Response`);
        if (!answer.ok) {
            answer.body?.cancel().catch(() => {});
            throw missing([404, 410].includes(answer.status),
                new TautError("read", `${this.name}: HTTP ${answer.status} ${answer.statusText}`.trimEnd()));
        }
        if (/^text\/html\b/i.test(answer.headers.get("content-type") ?? "")) {
            answer.body?.cancel().catch(() => {});
            throw missing(true, new TautError("read", `${this.name}: the server gave a page (text/html), not a file`));
        }
        return answer;
    }

    #range(answer) {
        const found = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(answer.headers.get("content-range") ?? "");
        const [begin, end, total] = found ? found.slice(1).map(Number) : [];
        return Number.isSafeInteger(total) ? {begin, end: end + 1, total} : null;
    }

    async #all(answer, signal) {
        if (!answer.ok)
            throw new TautError("read", `${this.name}: HTTP ${answer.status}`);
        const coded = answer.headers.get("content-encoding");
        const length = Number(answer.headers.get("content-length") ?? NaN);
        if (!coded && Number.isSafeInteger(length))
            this.size = length;
        const bytes = await this.#body(answer, null, signal);
        this.size = bytes.length;
        return {at: 0, bytes};
    }

    /** All of an answer; `wanted` bytes, if that is known. */
    async #body(answer, wanted, signal) {
        const parts = [];
        const most = wanted ?? this.limit;
        let size = 0;
        let reader;
        try {
            reader = answer.body?.getReader();
            for (;;) {
                const {done, value} = reader ? await unlessAborted(reader.read(), signal) : {done: true};
                if (done)
                    break;
                signal?.throwIfAborted();
                if (!(value instanceof Uint8Array))
                    throw new TautError("read", `${this.name}: its body is not of bytes`);
                size += value.length;
                if (size > most)
                    throw wanted === null ?
                        new TautError("memory", `${this.name}: more than ${most} bytes; raise memoryLimit`) :
                        new TautError("read", `${this.name}: more bytes than asked for`);
                parts.push(value);
                this.told?.(value.length, this.size);
            }
        } catch (error) {
            reader?.cancel().catch(() => {});  // which may never end either
            signal?.throwIfAborted();
            throw error instanceof TautError ? error :
                new TautError("read", `${this.name}: broke off after ${size} bytes (${said(error)})`, {cause: error});
        }
        if (wanted !== null && size !== wanted)
            throw new TautError("read", `${this.name}: broke off after ${size} of ${wanted} bytes`);
        return joined(parts, size);
    }
}

/** Note in an error that nothing is there at all. */
function missing(whether, error) {
    return Object.assign(error, {missing: whether});
}

export function joined(parts, size) {
    if (parts.length === 1)
        return parts[0];
    const all = new Uint8Array(size);
    let at = 0;
    for (const part of parts) {
        all.set(part, at);
        at += part.length;
    }
    return all;
}
