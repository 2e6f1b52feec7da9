// What comes over a network: how much, in what order, and what happens where it goes wrong.
import assert from "node:assert/strict";
import {test} from "node:test";
import {golden, serve, taut} from "./known.mjs";

const data = golden("exact2.taut.safetensors");
const FAKE = "/a.taut.safetensors";

test("only what a tensor needs is fetched where the server has ranges", async (t) => {
    const server = await serve({[FAKE]: data});
    t.after(server.close);
    const steps = [];
    const m = await taut.open(server.url + FAKE, {onProgress: (step) => steps.push(step)});
    const opened = server.seen.bytes;
    assert.ok(opened < data.length, `${opened} of ${data.length}`);
    const name = m.tensors.find((one) => one.fileBytes > 0).name;
    const values = await m.get(name);
    assert.ok(server.seen.bytes <= opened + data.length);
    assert.deepEqual(steps.at(-1), {loaded: server.seen.bytes, total: data.length});
    const before = server.seen.bytes;
    assert.deepEqual(await m.get(name), values);
    assert.equal(server.seen.bytes, before, "what is here is not fetched again");
    await Promise.all([m.load(), m.load()]);
    assert.equal(server.seen.bytes, data.length, "no byte twice");
    await m.close();
});

test("a server without ranges, and whole: true, give all in one request", async (t) => {
    const plain = await serve({[FAKE]: data}, {ranges: false});
    const server = await serve({[FAKE]: data});
    t.after(() => Promise.all([plain.close(), server.close()]));
    for (const [place, options] of [[plain, {}], [server, {whole: true}]]) {
        const steps = [];
        const m = await taut.open(place.url + FAKE, {...options, onProgress: (step) => steps.push(step)});
        await m.verify();
        for (const {name} of m.tensors)
            await m.get(name);
        assert.equal(place.seen.requests.length, 1);
        assert.equal(steps.at(-1).loaded, steps.at(-1).total);
    }
});

test("a signal ends it, before and while bytes come", async (t) => {
    const server = await serve({[FAKE]: data});
    const slow = await serve({}, {change: (answer) => answer.writeHead(200).write("{") || true});
    t.after(() => Promise.all([server.close(), slow.close()]));
    await assert.rejects(taut.open(server.url + FAKE, {signal: AbortSignal.abort()}), {name: "AbortError"});
    const stop = new AbortController();
    const waiting = taut.open(slow.url, {signal: stop.signal});
    setTimeout(() => stop.abort(), 50);
    await assert.rejects(waiting, {name: "AbortError"});
    const m = await taut.open(server.url + FAKE);
    await assert.rejects(m.verify({signal: AbortSignal.abort()}), {name: "AbortError"});
    await m.verify();
});

test("a file that is changed, cut, missing or a page is told", async (t) => {
    let tag = '"1"';
    const changed = await serve({[FAKE]: data}, {change: (answer) => void answer.setHeader("etag", tag)});
    const cut = await serve({[FAKE]: data}, {change(answer) {
        answer.writeHead(206, {"content-range": `bytes 0-65535/${data.length}`, "content-length": 65536});
        answer.write(data.subarray(0, 1000));
        setTimeout(() => answer.destroy(), 20);
        return true;
    }});
    const page = await serve({}, {change: (answer) => answer.writeHead(200, {"content-type": "text/html"}).end("<html>")});
    t.after(() => Promise.all([changed.close(), cut.close(), page.close()]));
    const m = await taut.open(changed.url + FAKE);
    tag = '"2"';
    await assert.rejects(m.load(), {code: "read", message: /changed/});
    await assert.rejects(taut.open(cut.url + FAKE), {code: "read", message: /broke off/});
    await assert.rejects(taut.open(page.url + FAKE), {code: "read", message: /text\/html/});
    await assert.rejects(taut.open(changed.url + "/none"), {code: "read", message: /404/});
    await assert.rejects(taut.open("http://127.0.0.1:9/none"), {code: "read"});
    await assert.rejects(taut.open(changed.url + FAKE, {whole: true, memoryLimit: 50_000}), {code: "memory"});
});

test("the cache of transformers.js makes the .onnx, or hands on", async (t) => {
    const server = await serve({"/m/onnx/model.taut.safetensors": data, "/m/bad.taut.safetensors": data.subarray(0, 90)});
    t.after(server.close);
    const asked = [];
    const next = {async match(name) { asked.push(name); }, async put(name) { asked.push(`put ${name}`); }};
    const cache = taut.modelCache({next});
    assert.equal(await cache.match(`${server.url}/m/config.json`), undefined);
    assert.equal(await cache.match(`${server.url}/none/model.onnx`), undefined);
    await cache.put(`${server.url}/m/config.json`, new Response(""));
    assert.deepEqual(asked, [`${server.url}/m/config.json`, `${server.url}/none/model.onnx`, `put ${server.url}/m/config.json`]);
    // This one has weights and no graph: the .onnx is fetched, its weights are made.
    const model = `${server.url}/m/onnx/model.onnx`;
    assert.equal(await cache.match(`${model}?download=true`), undefined);
    for (let round = 0; round < 2; round++) {
        const answer = await cache.match(`${model}_data`);
        assert.ok(Buffer.from(await answer.arrayBuffer()).equals(golden("model2.safetensors")));
    }
    assert.equal(server.seen.requests.filter((one) => one.startsWith("/m/onnx/")).length, 1);
    await assert.rejects((await cache.match(`${server.url}/m/bad.onnx`)).arrayBuffer(), {code: "format"});
    const named = taut.modelCache({files: {"onnx/model.onnx": data}});
    assert.equal(await named.match(`${server.url}/m/onnx/model_q4.onnx`), undefined);
    const answer = await named.match(`${server.url}/m/onnx/model.onnx`);
    await assert.rejects(answer.arrayBuffer(), {code: "argument", message: /nothing that was compressed/});
});
