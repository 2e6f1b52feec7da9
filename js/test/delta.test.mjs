// Deltas, which stand on another model: what it gives is compared with its checksums.
import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import {test} from "node:test";
import {ROOT, taut, tensorsOf} from "./known.mjs";

const delta = (name) => readFileSync(`${ROOT}/tests/golden/deltas/${name}`);
const bits = (values) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);
const base = tensorsOf(delta("base.safetensors"));
const given = async (name) => base.get(name)?.bytes ?? assert.fail(name);

for (const name of ["exact", "lossy"]) {
    test(`${name}: every tensor, all of it and its rows, and the original`, async () => {
        const wanted = tensorsOf(delta(`${name}.safetensors`));
        const m = await taut.open(delta(`${name}.taut.safetensors`), {base: given});
        assert.equal(m.baseName, "base.safetensors");
        assert.equal(m.tensors.length, wanted.size);
        for (const {name: one, shape} of m.tensors) {
            const values = bits(await m.get(one, {as: "bits"}));
            assert.ok(values.equals(wanted.get(one).bytes), one);
            const row = values.length / shape[0];
            assert.ok(bits(await m.get(one, {as: "bits", rows: [1, 3]})).equals(values.subarray(row, 3 * row)), one);
            const two = Buffer.concat([2, 0].map((k) => values.subarray(k * row, (k + 1) * row)));
            assert.ok(bits(await m.gather(one, [2, 0], {as: "bits"})).equals(two), one);
        }
        await m.verify();
        assert.ok(Buffer.from(await m.toSafetensors()).equals(delta(`${name}.safetensors`)));
        await m.close();
    });
}

test("a base that is none, lies, fails or is not given is told", async () => {
    const data = delta("exact.taut.safetensors");
    const outcome = async (base, act = (m) => m.verify()) => {
        const m = await taut.open(data, {base});
        return act(m).then(() => "ok", (error) => error instanceof taut.TautError ? error.code : `${error}`);
    };
    const flipped = async (name) => Buffer.from(await given(name)).map((byte, k) => k === 9 ? byte ^ 1 : byte);
    assert.equal(await outcome(given), "ok");
    assert.equal(await outcome(undefined), "argument");
    assert.equal(await outcome(undefined, (m) => m.get("ints")), "argument");
    assert.equal(await outcome(flipped), "checksum");
    assert.equal(await outcome(async (name) => (await given(name)).subarray(1)), "argument");
    assert.equal(await outcome(async () => undefined), "read");
    assert.equal(await outcome(async () => { throw new Error("gone"); }), "read");
    assert.equal(await outcome({get: 5}), "argument");
});

test("a Taut file is a base, too", async () => {
    const under = await taut.open(delta("exact.taut.safetensors"), {base: given});
    const m = await taut.open(delta("lossy.taut.safetensors"), {base: under});
    await assert.rejects(m.verify(), (error) => ["argument", "checksum"].includes(error.code));  // it is made of another one
    await m.close();
    assert.ok(bits(await under.get("wide", {as: "bits"})).length > 0);
});
