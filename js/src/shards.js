// A model in several Taut files: the index beside them says which shard has which tensor, and by checksums which shards
// are its own (docs/format.md, section 8).
import {Engine} from "./engine.js";
import {TautError} from "./errors.js";
import {openFile} from "./file.js";
import {Held} from "./held.js";
import {sourceOf} from "./source.js";
import {listened} from "./waiting.js";

const START = '{"metadata":{"taut":"2","checksum":"';
const MOST = 64e6;  // bytes of an index
const SHARD = /^[^/\\:\0]{1,233}\.taut\.safetensors$/;

export const isIndex = (what) => /\.index\.json$/.test(place(what));

const place = (what) => typeof what === "string" ? what.replace(/[?#].*$/s, "") :
    what instanceof URL ? what.pathname : typeof what?.name === "string" ? what.name : "";

export async function openShards(what, options = {}) {
    const {onProgress} = options;
    const signal = listened(options.signal);
    const progress = new Map();
    const told = (name) => (bytes, total) => {
        progress.set(name, {loaded: (progress.get(name)?.loaded ?? 0) + bytes, total});
        const loaded = [...progress.values()].reduce((sum, one) => sum + one.loaded, 0);
        onProgress?.({loaded, total: table?.total});
    };
    let table = null;
    const held = new Held(sourceOf(what, {...options, limit: MOST, told: told("")}));
    await held.begin(signal);
    if (held.size > MOST)
        throw new TautError("format", `${held.source.name}: over ${MOST} bytes; not an index of shards`);
    await held.need(0, held.size, signal);
    table = await read(held.lookup(0, held.size), held.source.name);
    await held.close();
    table.total = held.size + table.shards.reduce((sum, one) => sum + one.bytes, 0);
    const opened = await Promise.allSettled(table.shards.map(async (shard) => {
        const at = options.resolve ? options.resolve(shard.name) : beside(what, shard.name);
        let before = 0;
        const hear = ({loaded, total}) => {
            told(shard.name)(loaded - before, total);
            before = loaded;
        };
        const file = await openFile(at, {...options, onProgress: hear});
        if (file.size === shard.bytes && file.headerChecksum === shard.checksum)
            return file;
        await file.close();
        throw new TautError("checksum", `${held.source.name}: ${shard.name} is not the shard that the index is of`);
    }));
    const files = opened.filter((one) => one.status === "fulfilled").map((one) => one.value);
    try {
        const failed = opened.find((one) => one.status === "rejected");
        if (failed)
            throw failed.reason;
        return new TautShards(held.source.name, table, files);
    } catch (error) {
        await Promise.all(files.map((one) => one.close()));
        throw error;
    }
}

/** Several files as one: as TautFile. */
export class TautShards {
    #owners = new Map();

    constructor(name, table, files) {
        this.name = name;
        this.parts = files;
        this.size = table.total;
        const listed = new Map(table.owners);
        for (const [number, file] of files.entries()) {
            for (const {name: tensor} of file.tensors) {
                if (listed.get(tensor) !== table.shards[number].name)
                    throw new TautError("format", `${name}: tensor "${tensor}" of ${table.shards[number].name} is not listed there`);
                this.#owners.set(tensor, file);
            }
        }
        const missing = table.owners.find(([tensor]) => !this.#owners.has(tensor));
        if (missing)
            throw new TautError("format", `${name}: ${missing[1]} has no tensor "${missing[0]}"`);
        this.tensors = Object.freeze(table.owners.map(([tensor]) => this.#owners.get(tensor).info(tensor)));
        this.baseName = files.map((file) => file.baseName).find((name) => name !== null) ?? null;
        this.modules = new Map(files.flatMap((file) => [...file.modules]));
        this.texts = table.texts;
    }

    has(name) {
        return this.#owners.has(name);
    }
    info(name) {
        return this.#owner(name).info(name);
    }
    async get(name, options) {
        return this.#owner(name).get(name, options);
    }
    async gather(name, rows, options) {
        return this.#owner(name).gather(name, rows, options);
    }
    async grid(name, options) {
        return this.#owner(name).grid(name, options);
    }
    async load(options) {
        await Promise.all(this.parts.map((file) => file.load(options)));
        return this;
    }
    async verify(options) {
        for (const file of this.parts)
            await file.verify(options);
    }
    async originals(options) {
        const found = this.texts.map(({name, text}) => ({name, bytes: new TextEncoder().encode(text)}));
        for (const file of this.parts)
            found.push(...await file.originals(options));
        return found;
    }
    async toOnnx(options) {
        if (this.parts.length === 1)
            return this.parts[0].toOnnx(options);
        throw new TautError("argument", `${this.name}: is no single ONNX model; take originals()`);
    }
    async toSafetensors(options) {
        if (this.parts.length === 1)
            return this.parts[0].toSafetensors(options);
        throw new TautError("argument", `${this.name}: was made of several files; take originals()`);
    }
    async close() {
        await Promise.all(this.parts.map((file) => file.close()));
    }

    #owner(name) {
        const file = this.#owners.get(name);
        if (!file)
            throw new TautError("argument", `${this.name}: no tensor "${name}"`);
        return file;
    }
}

async function read(bytes, where) {
    const text = decoded(bytes, where);
    const wrong = (why) => new TautError("format", `${where}: ${why}`);
    if (!text.startsWith(START))
        throw wrong("not an index of Taut files (no taut version 2 at its start)");
    const signed = bytes.slice();
    signed.fill(0x30, START.length, START.length + 16);
    const engine = await Engine.start();
    const sum = engine.checksum(signed);
    engine.close();
    if (text.slice(START.length, START.length + 16) !== sum)
        throw new TautError("checksum", `${where}: the index does not match its checksum; fetch it again`);
    let tree;
    try {
        tree = JSON.parse(text);
    } catch (error) {
        throw wrong(error.message);
    }
    if (strings(text) !== strings(JSON.stringify(tree)))  // the first of the two was dropped
        throw wrong("a key comes twice");
    const {shards, weight_map: owners, source} = tree;
    const sound = Array.isArray(shards) && shards.length > 0 && shards.every((one) => SHARD.test(one?.name) &&
        Number.isSafeInteger(one.bytes) && one.bytes >= 0 && /^[0-9a-f]{16}$/.test(one.checksum));
    if (!sound || new Set(shards.map((one) => one.name.toLowerCase())).size !== shards.length)
        throw wrong("its shards are no list of files beside it");
    const names = new Set(shards.map((one) => one.name));
    const rows = owners && typeof owners === "object" && !Array.isArray(owners) ? Object.entries(owners) : [];
    if (rows.length === 0 || !rows.every(([, shard]) => names.has(shard)))
        throw wrong("its weight_map names no shard of its own for some tensor");
    // Numbers as names come first in an object, whatever their order in the text.
    const order = rows.some(([name]) => /^\d+$/.test(name)) ? ordered(rows, text) : rows;
    const texts = Array.isArray(source?.texts) ? source.texts : [];
    if (!texts.every((one) => typeof one?.name === "string" && typeof one?.text === "string" && !/[/\\\0]/.test(one.name)))
        throw wrong("its texts are no files");
    return {shards, owners: order, texts};
}

const strings = (text) => text.match(/"(?:[^"\\]|\\.)*"/gs)?.length ?? 0;

function decoded(bytes, where) {
    try {
        return new TextDecoder("utf-8", {fatal: true}).decode(bytes);
    } catch (error) {
        throw new TautError("format", `${where}: is no UTF-8`, {cause: error});
    }
}

function ordered(rows, text) {
    const at = text.lastIndexOf('"weight_map"');
    return rows.map((row) => [text.indexOf(`${JSON.stringify(row[0])}:`, at), row]).sort((a, b) => a[0] - b[0])
        .map(([, row]) => row);
}

function beside(what, name) {
    const text = typeof what === "string" ? what : what instanceof URL ? what.href : null;
    if (text === null)
        throw new TautError("argument", "an index that is not at a URL or path wants resolve: (name) => where that shard is");
    if (what instanceof URL)
        return new URL(encodeURIComponent(name), what);
    const [path, query] = text.split(/(?=[?#])/s);
    const remote = /^(https?|file|blob):/i.test(text) || query !== undefined;
    return path.replace(/[^/\\]*$/, "") + (remote ? encodeURIComponent(name) : name) + (query ?? "");
}
