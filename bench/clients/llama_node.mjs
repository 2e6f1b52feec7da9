// A GGUF file in llama.cpp, through node-llama-cpp: tokens, log-probabilities, embeddings.
// `node llama_node.mjs JOB`, as llama_cpp.py; modules are those of the folder it runs in.
import {readFileSync} from "node:fs";
import {join} from "node:path";
import {pathToFileURL} from "node:url";

const home = join(process.cwd(), "node_modules", "node-llama-cpp");
const {version, main} = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(join(home, main)));
const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const llama = await getLlama({
    gpu: false, build: "never", skipDownload: true, progressLogs: false, logLevel: LlamaLogLevel.error,
    maxThreads: 1
});
const model = await llama.loadModel({modelPath: job.model});
const found = {client: `node-llama-cpp ${version}`};
found.bare = job.texts.map((text) => Array.from(model.tokenize(text)));
if (job.embeds) {
    const context = await model.createEmbeddingContext({contextSize: 256, threads: 1});
    found.embeddings = [];
    for (const text of job.texts)
        found.embeddings.push(Array.from((await context.getEmbeddingFor(text)).vector));
    const longest = job.texts.reduce((best, text) => text.length > best.length ? text : best);
    const times = [];
    for (let at = 0; at < job.repeats + 2; at++) {
        const begun = process.cpuUsage();
        await context.getEmbeddingFor(longest);
        const {user, system} = process.cpuUsage(begun);
        times.push((user + system) / 1e6);
    }
    found.latency = Math.min(...times.slice(2));
} else {
    const context = await model.createContext({contextSize: 128, threads: 1});
    const sequence = context.getSequence();
    found.logprobs = [];
    for (const ids of job.ids) {
        await sequence.clearHistory();
        const input = ids.map((id) => [id, {generateNext: {probabilities: true, options: {
            temperature: 1, topK: 0, topP: 1, minP: 0}}}]);
        const output = await sequence.controlledEvaluate(input);
        found.logprobs.push(ids.slice(1).map((id, at) =>
            Math.log(output[at].next.probabilities.get(id))));
    }
}
process.stdout.write(JSON.stringify(found) + "\n", () => process.exit(0));
