// Golden files come out to the bit, wherever their bytes come from.
import assert from "node:assert/strict";
import {test} from "node:test";
import {GOLDEN, PACKAGE, TAUT_FILES, golden, serve, taut, tensorsOf} from "./known.mjs";

const PAIRS = [["exact", "model"], ["lossy", "lossy"], ["exact2", "model2"], ["lossy2", "lossy2"]];
const bits = (values) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

for (const module of ["taut.wasm", "taut-simd.wasm"]) {
    test(`${module} gives the golden files to the bit`, async (t) => {
        taut.useModule(new URL(`file://${PACKAGE}/${module}`));
        t.after(() => taut.useModule(undefined));
        for (const [coded, meant] of PAIRS) {
            const original = golden(`${meant}.safetensors`);
            const expected = tensorsOf(original);
            const m = await taut.open(golden(`${coded}.taut.safetensors`));
            assert.deepEqual(new Set(m.tensors.map((one) => one.name)), new Set(expected.keys()));
            for (const {name, dtype, shape, bytes} of m.tensors) {
                const want = expected.get(name);
                assert.deepEqual([dtype, [...shape], bytes], [want.dtype, want.shape, want.bytes.length]);
                assert.ok(bits(await m.get(name, {as: "bits"})).equals(want.bytes), name);
            }
            await m.verify();
            assert.ok(Buffer.from(await m.toSafetensors()).equals(original), coded);
            await m.close();
        }
    });
}

test("a tensor comes as the typed array of its dtype, narrower floats as float32", async () => {
    const m = await taut.open(golden("exact2.taut.safetensors"));
    const expected = tensorsOf(golden("model2.safetensors"));
    const kinds = {F32: Float32Array, F64: Float64Array, I64: BigInt64Array, I32: Int32Array, I16: Int16Array,
        I8: Int8Array, U8: Uint8Array, BOOL: Uint8Array, F16: Float32Array, BF16: Float32Array};
    let narrow = 0;
    for (const {name, dtype, values} of m.tensors) {
        const found = await m.get(name);
        assert.equal(found.constructor, kinds[dtype], dtype);
        assert.equal(found.length, values);
        if (dtype === "BF16") {
            const {bytes} = expected.get(name);
            const wide = new Uint32Array(found.buffer);
            for (let k = 0; k < values; k++)
                assert.equal(wide[k], bytes.readUInt16LE(2 * k) << 16 >>> 0);
            assert.deepEqual(await m.get(name, {as: "bfloat16"}), await m.get(name, {as: "bits"}));
            narrow++;
        }
    }
    assert.ok(narrow > 0);
});

test("rows are those of the whole, and a wrong range is refused", async () => {
    for (const file of TAUT_FILES) {
        const m = await taut.open(`${GOLDEN}/${file}`);
        for (const {name, shape, bytes} of m.tensors) {
            if (shape.length === 0 || shape[0] < 3)
                continue;
            const all = bits(await m.get(name, {as: "bits"}));
            const row = bytes / shape[0];
            const some = bits(await m.get(name, {as: "bits", rows: [1, 3]}));
            assert.ok(some.equals(all.subarray(row, 3 * row)), name);
            assert.ok(bits(await m.get(name, {as: "bits", rows: [2]})).equals(all.subarray(2 * row)), name);
            assert.equal((await m.get(name, {rows: [1, 1]})).length, 0);
            await assert.rejects(m.get(name, {rows: [0, shape[0] + 1]}), {code: "argument"});
        }
        await m.close();
        await assert.rejects(m.get(m.tensors[0].name), {code: "argument"});
    }
});

test("a grid makes the values", async () => {
    const m = await taut.open(golden("lossy2.taut.safetensors"));
    let grids = 0;
    for (const {name, dtype} of m.tensors) {
        if (dtype !== "F32")
            continue;
        const grid = await m.grid(name).catch((error) => assert.equal(error.code, "unsupported"));
        if (!grid || grid.levels.length > 0 || grid.kind !== "product")
            continue;
        const values = await m.get(name);
        for (let k = 0; k < values.length; k++) {
            const row = Math.floor(k / grid.columns), column = k % grid.columns;
            const level = grid.integers[k], far = Math.abs(level);
            const nearest = Math.min(grid.trellis ? (far + 1) >> 1 : far, 3);
            const offset = nearest ? Math.sign(level) * grid.offsets[nearest - 1] : 0;
            const at = row * grid.groups + Math.floor(column / grid.group);
            const f = Math.fround;
            const made = f(f(f(level - grid.zeros[at] - offset) * grid.scales[at]) * grid.columnScales[column]);
            assert.ok(Object.is(made + 0, values[k] + 0), `${name} ${k}: ${made} ${values[k]}`);
        }
        grids++;
    }
    assert.ok(grids > 0);
});

test("modules are given", async () => {
    const m = await taut.open(golden("modules2.taut.safetensors"));
    assert.deepEqual(m.modules, new Map([["conv1", new Map([["out_channels", 6]])], ["", new Map([["width", -(2 ** 40)]])]]));
});

test("every place gives the same", async (t) => {
    const data = golden("exact2.taut.safetensors");
    const server = await serve({"/a": data});
    const plain = await serve({"/a": data}, {ranges: false});
    t.after(() => Promise.all([server.close(), plain.close()]));
    const places = [
        data, data.buffer.slice(data.byteOffset, data.byteOffset + data.length), new Blob([data]), new Response(data),
        `${GOLDEN}/exact2.taut.safetensors`, new URL(`file://${GOLDEN}/exact2.taut.safetensors`),
        `${server.url}/a`, new URL(`${plain.url}/a`), `data:application/octet-stream;base64,${data.toString("base64")}`,
        {size: data.length, read: async (offset, length) => data.subarray(offset, offset + length)}
    ];
    const expected = golden("model2.safetensors");
    for (const place of places) {
        const m = await taut.open(place);
        assert.ok(Buffer.from(await m.toSafetensors()).equals(expected), String(place));
        await m.close();
    }
});

test("what is no place is refused", async () => {
    for (const wrong of [undefined, null, 5, {}, {size: -1, read() {}}])
        await assert.rejects(taut.open(wrong), {code: "argument"});
    await assert.rejects(taut.open(golden("exact2.taut.safetensors"), {memoryLimit: 0}), {code: "argument"});
    await assert.rejects(taut.open(`${GOLDEN}/none`), {code: "read"});
    const m = await taut.open(golden("exact2.taut.safetensors"));
    await assert.rejects(m.get("none"), {code: "argument", message: /no tensor "none"/});
    await assert.rejects(m.get(m.tensors[0].name, {as: "int3"}), {code: "argument"});
    await assert.rejects(m.toOnnx(), {code: "argument", message: /ONNX/});
});
