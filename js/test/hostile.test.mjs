// Damaged files: refused, or read to the same bits; never a trap, a hang or another number.
import assert from "node:assert/strict";
import {test} from "node:test";
import {TAUT_FILES, golden, taut} from "./known.mjs";

const CODES = new Set(["read", "format", "checksum", "memory", "unsupported", "argument"]);
const bits = (values) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

/** Numbers that look random and are the same each time (xorshift). */
function dice(seed) {
    let state = seed >>> 0 || 1;
    return (below) => {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        return (state >>> 0) % below;
    };
}

async function everything(data) {
    const m = await taut.open(data, {memoryLimit: 1 << 24});
    const found = new Map();
    for (const {name, shape} of m.tensors) {
        const all = await m.get(name, {as: "bits"}).catch(refused);
        found.set(name, all);
        const rows = await m.gather(name, shape[0] > 2 ? [shape[0] - 1, 1, 1] : [], {as: "bits"}).catch(refused);
        if (all !== null && rows?.length > 0)
            assert.deepEqual(rows.subarray(0, rows.length / 3), all.subarray(all.length - rows.length / 3), name);
    }
    await m.verify().catch(refused);
    await m.originals().catch(refused);
    await m.close();
    return found;
}

function refused(error) {
    assert.equal(error.name, "TautError", error.stack);
    assert.ok(CODES.has(error.code), error.code);
    assert.doesNotMatch(error.message, /decoder stopped/);
    return null;
}

for (const file of TAUT_FILES) {
    const sound = golden(file);

    test(`${file} cut anywhere is refused`, async () => {
        const pick = dice(sound.length);
        for (let round = 0; round < 60; round++)
            assert.equal(await everything(sound.subarray(0, pick(sound.length))).catch(refused), null);
    });

    test(`${file} with flipped bits gives the same numbers or none`, async () => {
        const expected = await everything(sound);
        const pick = dice(sound.length + 1);
        let refusals = 0;
        for (let round = 0; round < 60; round++) {
            const data = Uint8Array.from(sound);
            data[pick(data.length)] ^= 1 << pick(8);
            const found = await everything(data).catch(refused);
            refusals += found === null || [...found.values()].includes(null);
            for (const [name, values] of found ?? [])
                assert.ok(values === null || bits(values).equals(bits(expected.get(name))), name);
        }
        assert.ok(refusals > 40, String(refusals));
    });
}

test("what is no Taut file is refused", async () => {
    const pick = dice(5);
    const noise = Uint8Array.from({length: 5000}, () => pick(256));
    const header = (text) => Buffer.concat([Buffer.from(new BigUint64Array([BigInt(text.length)]).buffer), Buffer.from(text)]);
    for (const data of [new Uint8Array(0), new Uint8Array(7), new Uint8Array(100), noise, header("{}"),
        header('{"__metadata__":{"taut":"2","checksum":"0000000000000000","index":"0000000000000000"}}'),
        golden("model2.safetensors"), Buffer.alloc(64, 255)])
        await assert.rejects(taut.open(data), (error) => refused(error) === null);
});

test("a source that lies about its bytes is refused", async () => {
    const sound = golden("exact2.taut.safetensors");
    for (const read of [async () => new Uint8Array(3), async () => { throw new Error("gone"); }, async () => undefined])
        await assert.rejects(taut.open({size: sound.length, read}), {name: /^(TautError|TypeError)$/});
    const m = await taut.open({size: sound.length, read: async (offset, length) => {
        const bytes = Uint8Array.from(sound.subarray(offset, offset + length));
        if (offset > 0)
            bytes.fill(0);
        return bytes;
    }}).catch(refused);
    assert.equal(m, null);
});

test("a limit of memory is kept, and the file can be used after", async () => {
    const m = await taut.open(golden("lossy2.taut.safetensors"), {memoryLimit: 40_000});
    const outcomes = new Set();
    for (const {name, bytes} of m.tensors) {
        try {
            assert.equal((await m.get(name, {as: "bits"})).byteLength, bytes);
            outcomes.add("read");
        } catch (error) {
            assert.equal(error.code, "memory", error.message);
            outcomes.add("refused");
        }
    }
    assert.deepEqual(outcomes, new Set(["read", "refused"]));
    await assert.rejects(m.toSafetensors(), {code: "memory"});
    assert.ok(m.peakMemory <= 40_000);
    await assert.rejects(m.verify({decodedLimit: 1000}), {code: "unsupported"});
});
