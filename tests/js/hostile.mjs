// node hostile.mjs PACKAGE FILE: what servers, sources and callers may do that they should not. Prints of each what came of
// it, as JSON: "ok", the code of a TautError, "HANG", or the name of another error.
import {readFileSync} from "node:fs";
import {pathToFileURL} from "node:url";

const [home, path] = process.argv.slice(2);
const taut = await import(pathToFileURL(`${home}/index.js`));
const bytes = new Uint8Array(readFileSync(path));
const all = bytes.length;
const url = "http://host/net.taut.safetensors";
const found = {};

async function attempt(name, act) {
    let timer;
    const late = new Promise((resolve) => { timer = setTimeout(() => resolve("HANG"), 20_000); });
    const came = act().then(() => "ok", (error) => error instanceof taut.TautError ? error.code : `${error}`);
    found[name] = await Promise.race([came, late]);
    clearTimeout(timer);
}

async function use(what, options) {
    const m = await taut.open(what, options);
    for (const {name} of m.tensors)
        await m.get(name);
    await m.verify();
    await m.close();
}

const told = (begin, end, total = all) => ({"content-range": `bytes ${begin}-${end - 1}/${total}`, etag: "x"});
const sound = (begin, end) => new Response(bytes.slice(begin, end), {status: 206, headers: told(begin, end)});
/** A server; of requests but the first it gives what `later` does. */
const server = (first, later = first) => {
    let asked = 0;
    return {fetch: async (_, {headers}) => {
        const range = /bytes=(\d+)-(\d+)/.exec(headers?.Range ?? "");
        const [begin, end] = range ? [Number(range[1]), Math.min(all, Number(range[2]) + 1)] : [0, all];
        return (asked++ ? later : first)(begin, end);
    }};
};
const whole = (some = bytes) => () => new Response(some);
const stream = (pull) => () => new Response(new ReadableStream({pull}));
const ranged = (change, total) => (begin, end) => new Response(change(begin, end), {status: 206, headers: told(begin, end, total)});

const servers = {
    "sound": server(sound),
    "no ranges": server(whole()),
    "no ranges later": server(sound, whole()),
    "another file later": server(sound, whole(bytes.slice(5))),
    "a longer file later": server(sound, whole(new Uint8Array(all + 5))),
    "other bytes later": server(sound, ranged((begin, end) => new Uint8Array(end - begin))),
    "too few": server(sound, ranged((begin, end) => bytes.slice(begin, end - 1))),
    "too many": server(sound, ranged((begin, end) => bytes.slice(begin - 1, end))),
    "nothing": server(sound, ranged(() => null)),
    "an empty answer": server(() => new Response(null)),
    "no size": server(ranged((begin, end) => bytes.slice(begin, end), "*")),
    "a size of nothing": server(ranged((begin, end) => bytes.slice(begin, end), 0)),
    "a size beyond all": server(ranged((begin, end) => bytes.slice(begin, end), "9".repeat(30))),
    "too large a size": server(ranged((begin, end) => bytes.slice(begin, end), 2 ** 53 - 1)),
    "an endless answer": {memoryLimit: 2 ** 23, ...server(stream((to) => to.enqueue(new Uint8Array(2 ** 20))))},
    "an answer of texts": server(stream((to) => { to.enqueue("text"); to.close(); })),
    "an answer that breaks off": server(stream((to) => to.error(undefined))),
    "no response": server(() => undefined),
    "an error of nothing": server(() => { throw undefined; }),
    "an error of text": server(() => { throw "text"; })
};
for (const [name, options] of Object.entries(servers))
    await attempt(name, () => use(url, options));
const fired = (after = 50) => {
    const control = new AbortController();
    setTimeout(() => control.abort(new taut.TautError("argument", "enough")), after);
    return control.signal;
};
const never = () => new Promise(() => {});
await attempt("a server that never answers", () => use(url, {fetch: never, signal: fired()}));
await attempt("a body that never comes", () => use(url, {fetch: stream(never), signal: fired()}));
await attempt("a source that never answers", () => use({size: all, read: never}, {signal: fired()}));
for (const [name, some] of Object.entries({undefined, number: 2 ** 40, negative: -1, text: "text", list: [1], short: bytes.slice(1)}))
    await attempt(`a source that gives ${name}`, () => use({size: all, read: async () => some}));
/** A source whose bytes are others from some read on. */
const changing = (from, change) => {
    let reads = 0;
    return {size: all, read: async (begin, size) => {
        const some = bytes.slice(begin, begin + size);
        return reads++ < from ? some : change(some);
    }};
};
const flip = (some) => { some[some.length >> 1] ^= 1; return some; };
for (let from = 0; from < 8; from++) {
    await attempt(`bits that turn from read ${from} on`, () => use(changing(from, flip)));
    await attempt(`zeros from read ${from} on`, () => use(changing(from, (some) => some.fill(0))));
}
const scratch = new Uint8Array(all);
await attempt("a buffer that is used again", () => use({size: all, read: async (begin, size) => {
    scratch.set(bytes.subarray(begin, begin + size));
    return scratch.subarray(0, size);
}}));
const gone = bytes.slice();
structuredClone(gone.buffer, {transfer: [gone.buffer]});
await attempt("bytes that are gone", () => use(gone));
const read = new Response(bytes);
await read.arrayBuffer();
await attempt("a response that was read", () => use(read));
await attempt("no signal", () => use(bytes, {signal: 5}));
await attempt("no options", () => use(bytes, null));
const m = await taut.open(bytes);
const [{name}] = m.tensors;
for (const rows of [5, "01", [], [0.5, 1], [-1, 1], [NaN, 1], [0, 2 ** 40], [1, 0]])
    await attempt(`rows ${JSON.stringify(rows)}`, () => m.get(name, {rows}));
await attempt("no rows", () => m.get(name, {rows: null}));
await attempt("a symbol", () => m.get(Symbol("x")));
process.stdout.write(JSON.stringify(found), () => process.exit(0));
