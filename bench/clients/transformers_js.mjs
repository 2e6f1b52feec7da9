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
const options = {
    dtype: job.dtype, device: "cpu",
    session_options: {intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3}
};
const name = basename(job.model);
const piped = await pipeline("feature-extraction", name, options);
const {tokenizer, model} = piped;
const found = {client: `transformers.js ${version}`, embeddings: []};

// The pipeline takes models that give vectors of tokens; one that gives those of texts is asked itself.
async function embed(text) {
    if (found.whole === undefined) {
        const answer = await model(await tokenizer(text));
        found.whole = !("last_hidden_state" in answer || "token_embeddings" in answer);
    }
    if (!found.whole)
        return (await piped(text, {pooling: "mean"})).data;
    return Object.values(await model(await tokenizer(text)))[0].data;
}

for (const text of job.texts)
    found.embeddings.push(Array.from(await embed(text)));
const longest = job.texts.reduce((best, text) => text.length > best.length ? text : best);
const times = [];
for (let at = 0; at < job.repeats + 2; at++) {
    const begun = process.cpuUsage();
    await embed(longest);
    const {user, system} = process.cpuUsage(begun);
    times.push((user + system) / 1e6);
}
found.latency = Math.min(...times.slice(2));
process.stdout.write(JSON.stringify(found) + "\n", () => process.exit(0));
