// A folder with ONNX files in transformers.js: the pipeline feature-extraction, from texts.
// JOB has `model` (a folder in its layout), `dtype`, `texts` and `repeats`.
import {readFileSync} from "node:fs";
import {basename, dirname, join} from "node:path";
import {pathToFileURL} from "node:url";

const home = join(process.cwd(), "node_modules", "@huggingface", "transformers");
const {version} = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
const {env, pipeline} = await import(pathToFileURL(join(home, "dist", "transformers.node.mjs")));
const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
env.allowRemoteModels = false;
env.localModelPath = dirname(job.model) + "/";
const embed = await pipeline("feature-extraction", basename(job.model), {
    dtype: job.dtype, device: "cpu",
    session_options: {intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3}
});
const found = {client: `transformers.js ${version}`, embeddings: []};
for (const text of job.texts)
    found.embeddings.push(Array.from((await embed(text, {pooling: "mean"})).data));
const longest = job.texts.reduce((best, text) => text.length > best.length ? text : best);
const times = [];
for (let at = 0; at < job.repeats + 2; at++) {
    const begun = performance.now();
    await embed(longest, {pooling: "mean"});
    times.push((performance.now() - begun) / 1000);
}
found.latency = times.slice(2).sort((a, b) => a - b)[job.repeats >> 1];
process.stdout.write(JSON.stringify(found) + "\n", () => process.exit(0));
