// Chosen rows are those of the whole tensor, and over the network the chunks come that hold them.
import assert from "node:assert/strict";
import {test} from "node:test";
import {GOLDEN, PACKAGE, TAUT_FILES, golden, serve, taut} from "./known.mjs";

const bits = (values) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

/** Lists of rows: one, repeated and unordered, all backwards, none. */
function choices(rows) {
    const some = Array.from({length: 20}, (_, k) => (k * 7919 + 3) % rows);
    return [[rows - 1], [...some, ...some.slice(0, 5)], Array.from({length: rows}, (_, k) => rows - 1 - k), []];
}

for (const module of ["taut.wasm", "taut-simd.wasm"]) {
    test(`${module} gives chosen rows`, async (t) => {
        taut.useModule(new URL(`file://${PACKAGE}/${module}`));
        t.after(() => taut.useModule(undefined));
        for (const file of TAUT_FILES) {
            const m = await taut.open(`${GOLDEN}/${file}`);
            for (const {name, shape} of m.tensors) {
                const rows = shape[0] ?? 1;
                for (const as of ["bits", "own"]) {
                    const all = bits(await m.get(name, {as}));
                    const row = rows ? all.length / rows : 0;
                    for (const asked of rows ? choices(rows) : [[]]) {
                        const wanted = Buffer.concat(asked.map((k) => all.subarray(k * row, (k + 1) * row)));
                        assert.ok(bits(await m.gather(name, asked, {as})).equals(wanted), `${file} ${name} ${asked}`);
                    }
                }
            }
            await m.close();
        }
    });
}

test("rows come by any typed array, and as any floats", async () => {
    const m = await taut.open(golden("basis2.taut.safetensors"));
    const asked = [1400, 3, 3];
    for (const as of ["float32", "float16", "bfloat16"]) {
        const expected = await m.gather("words", asked, {as});
        assert.equal(expected.constructor, as === "float32" ? Float32Array : Uint16Array);
        for (const rows of [Uint16Array.from(asked), Int32Array.from(asked), Float64Array.from(asked), BigInt64Array.from(asked, BigInt), asked.map(BigInt)])
            assert.deepEqual(await m.gather("words", rows, {as}), expected);
    }
});

test("wrong rows are refused, and the file can be used on", async () => {
    const m = await taut.open(golden("basis2.taut.safetensors"), {memoryLimit: 2 ** 20});
    const sparse = new Array(2 ** 32 - 1);
    for (const rows of [[1500], [-1], [0.5], [NaN], [2 ** 60], [2n ** 64n], ["1"], [null], [Symbol("a")], sparse, undefined, null, 3, "01",
        {length: 2}, new ArrayBuffer(8), new DataView(new ArrayBuffer(8)), new Set([1])])
        await assert.rejects(m.gather("words", rows), {code: "argument"});
    await assert.rejects(m.gather("none", [0]), {code: "argument"});
    await assert.rejects(m.gather("words", [0], {as: "int3"}), {code: "argument"});
    await assert.rejects(m.gather("words", new Uint16Array(2 ** 20)), {code: "memory"});
    await assert.rejects(m.gather("words", [0], {signal: AbortSignal.abort(new Error("no more"))}), /no more/);
    assert.deepEqual(await m.gather("words", [7]), await m.get("words", {rows: [7, 8]}));
    await m.close();
    await assert.rejects(m.gather("words", [0]), {code: "argument"});
});

test("several look-ups at once do not meet", async (t) => {
    const data = golden("basis2.taut.safetensors");
    const server = await serve({"/a": data});
    t.after(() => server.close());
    const local = await taut.open(data);
    const m = await taut.open(`${server.url}/a`);
    const lists = [[0, 9], [1499], [700, 3, 700]];
    const found = await Promise.all(lists.flatMap((rows) => ["words", "layer"].map((name) =>
        m.gather(name, rows.map((row) => row % 60)))));
    const expected = await Promise.all(lists.flatMap((rows) => ["words", "layer"].map((name) =>
        local.gather(name, rows.map((row) => row % 60)))));
    assert.deepEqual(found, expected);
});
