// ONNX files in onnxruntime-web (WebAssembly, in node): as onnx_python.py.
import {readFileSync} from "node:fs";
import {join} from "node:path";
import {pathToFileURL} from "node:url";

const home = join(process.cwd(), "node_modules", "onnxruntime-web");
const {version} = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
const ort = await import(pathToFileURL(join(home, "dist", "ort.node.min.mjs")));
const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const session = await ort.InferenceSession.create(readFileSync(job.model), {executionProviders: ["wasm"]});

function feed(ids) {
    const row = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, ids.length]);
    const every = {
        input_ids: row(ids), attention_mask: row(ids.map(() => 1)), token_type_ids: row(ids.map(() => 0))
    };
    return Object.fromEntries(session.inputNames.map((name) => [name, every[name]]));
}

async function vectors(one) {
    const {data, dims} = (await session.run(one))[session.outputNames[0]];
    const mean = new Array(dims.at(-1)).fill(0);  // of the tokens' vectors, or the only one
    data.forEach((value, at) => { mean[at % mean.length] += Number(value) * mean.length / data.length; });
    return mean;
}

const found = {client: `onnxruntime-web ${version}`, embeddings: []};
const feeds = job.ids.map(feed);
for (const one of feeds)
    found.embeddings.push(await vectors(one));
const longest = feeds[job.ids.reduce((best, ids, at) => ids.length > job.ids[best].length ? at : best, 0)];
const times = [];
for (let at = 0; at < job.repeats + 2; at++) {
    const begun = process.cpuUsage();
    await session.run(longest);
    const {user, system} = process.cpuUsage(begun);
    times.push((user + system) / 1e6);
}
found.latency = Math.min(...times.slice(2));
process.stdout.write(JSON.stringify(found) + "\n", () => process.exit(0));
