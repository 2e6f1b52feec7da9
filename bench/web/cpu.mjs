// node cpu.mjs PACKAGE RUNTIME FOLDER ROUNDS: CPU seconds from a model's bytes in memory to the first answer, of each way
// that FOLDER/models.json names: the fewest of all rounds, as JSON. One thread; the runtime is warm.
import {readFileSync} from "node:fs";
import {join} from "node:path";
import {pathToFileURL} from "node:url";

const [home, runtime, folder, rounds] = process.argv.slice(2);
const load = (...path) => import(pathToFileURL(join(...path)));
const ort = await load(runtime, "dist", "ort.node.min.mjs");
const taut = await load(home, "index.js");
const {Bert} = await load(folder, "bert.js");
const {WordPiece} = await load(folder, "wordpiece.js");
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const {ways} = JSON.parse(readFileSync(join(folder, "models.json"))).search;
const words = new WordPiece(readFileSync(join(folder, "vocab.txt"), "utf8"));
const page = readFileSync(join(folder, "search.html"), "utf8");
const lines = page.split("<textarea")[1].split("</textarea>")[0].split("\n").slice(1).map((line) => line.trim()).filter(Boolean);
lines.push(/value="([^"]+)"/.exec(page)[1]);

async function answer(session) {
    if (session instanceof Bert)
        return session.embed(lines.map((line) => words.encode(line)));
    for (let begin = 0; begin < lines.length; begin += 16) {
        const rows = lines.slice(begin, begin + 16).map((line) => words.encode(line));
        const length = Math.max(...rows.map((row) => row.length));
        const filled = (value) => new ort.Tensor("int64",
            BigInt64Array.from(rows.flatMap((row) => Array.from({length}, (_, k) => BigInt(value(row, k))))), [rows.length, length]);
        const every = {
            input_ids: filled((row, k) => row[k] ?? 0), attention_mask: filled((row, k) => Number(k < row.length)),
            token_type_ids: filled(() => 0)
        };
        await session.run(Object.fromEntries(session.inputNames.map((name) => [name, every[name]])));
    }
}

async function session({encoder, graph, weights, onnx}) {
    if (encoder)
        return Bert.from(await WebAssembly.compile(encoder), await taut.open(weights), {heads: 12});
    const options = {executionProviders: ["wasm"]};
    if (onnx)
        return ort.InferenceSession.create(onnx, options);
    const m = await taut.open(weights);
    const data = await m.toSafetensors();
    await m.close();
    return ort.InferenceSession.create(graph, {...options, externalData: [{path: "model.safetensors", data}]});
}

const found = {};
for (let round = 0; round < Number(rounds); round++) {
    for (const [name, way] of Object.entries(ways)) {
        const held = Object.fromEntries(Object.entries(way).map(([key, file]) => [key, readFileSync(join(folder, file))]));
        const begun = process.cpuUsage();
        const made = await session(held);
        await answer(made);
        const {user, system} = process.cpuUsage(begun);
        await made.release?.();
        found[name] = Math.min(found[name] ?? Infinity, (user + system) / 1e6);
    }
}
process.stdout.write(JSON.stringify(found), () => process.exit(0));
