// node clients.mjs PACKAGE MODULES FOLDER: what onnxruntime-web and transformers.js make of Taut files, as JSON.
// FOLDER/model is a model folder in the layout of transformers.js with onnx/model.taut.safetensors and no .onnx.
import {existsSync} from "node:fs";
import {join} from "node:path";
import {pathToFileURL} from "node:url";

const [home, modules, folder] = process.argv.slice(2);
const taut = await import(pathToFileURL(join(home, "index.js")));
const found = {};
const runtime = join(modules, "onnxruntime-web", "dist", "ort.node.min.mjs");
if (existsSync(runtime) && existsSync(join(folder, "net.taut.safetensors"))) {
    const ort = await import(pathToFileURL(runtime));
    ort.env.wasm.numThreads = 1;
    const m = await taut.open(join(folder, "net.taut.safetensors"));
    const session = await ort.InferenceSession.create(await m.toOnnx(), {executionProviders: ["wasm"]});
    const x = new ort.Tensor("float32", Float32Array.from({length: 300}, (_, k) => Math.sin(k)), [1, 300]);
    found.net = Array.from((await session.run({x})).y.data);
}
const transformers = join(modules, "@huggingface", "transformers", "dist", "transformers.node.mjs");
if (existsSync(transformers) && existsSync(join(folder, "model"))) {
    const {env, pipeline} = await import(pathToFileURL(transformers));
    env.allowRemoteModels = false;
    env.localModelPath = `${folder}/`;
    env.useFSCache = false;
    env.useCustomCache = true;
    env.customCache = taut.modelCache();
    const embed = await pipeline("feature-extraction", "model", {dtype: "fp32"});
    found.embedding = Array.from((await embed("Why does my bread not rise?", {pooling: "mean", normalize: true})).data);
}
process.stdout.write(JSON.stringify(found), () => process.exit(0));
