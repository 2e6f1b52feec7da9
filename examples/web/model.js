// A network for onnxruntime-web: its graph is a small .onnx whose weights lie in a Taut file (or a plain .onnx, to compare).
import * as ort from "./runtime/ort.wasm.min.mjs";
import * as taut from "./taut/index.js";
import {fetched} from "./bar.js";

ort.env.wasm.numThreads = 1;  // more want a server that isolates the page (COOP, COEP)
ort.env.wasm.wasmPaths = new URL("./runtime/", import.meta.url).href;

export {ort};

/** `{graph, weights}` or `{onnx}`, URLs, or a Response of the weights; `hear(name, progress)` is told what comes. */
export async function loadNetwork({graph, weights, onnx}, hear) {
    const options = {executionProviders: ["wasm"]};
    const warm = start(options);  // the runtime comes beside the model
    if (onnx) {
        const model = await fetched(onnx, (progress) => hear(onnx, progress));
        await warm;
        return ort.InferenceSession.create(model, options);
    }
    const [small, file] = await Promise.all([
        fetched(graph, (progress) => hear(graph, progress)),
        taut.open(weights, {whole: true, onProgress: (progress) => hear("model", progress)})
    ]);
    const data = await file.toSafetensors();
    await file.close();
    await warm;
    return ort.InferenceSession.create(small, {...options, externalData: [{path: "model.safetensors", data}]});
}

const AT_ONCE = 32;  // texts

/** Vectors of unit length from a graph: the mean of a text's tokens, one for each row of ids. */
export class GraphEncoder {
    constructor(session) {
        this.session = session;
    }

    async embed(rows) {
        const found = [];
        for (let begin = 0; begin < rows.length; begin += AT_ONCE)
            found.push(...await this.#vectors(rows.slice(begin, begin + AT_ONCE)));
        return found;
    }

    async #vectors(rows) {
        const length = Math.max(...rows.map((row) => row.length));
        const filled = (value) => new ort.Tensor("int64",
            BigInt64Array.from(rows.flatMap((row) => Array.from({length}, (_, k) => BigInt(value(row, k))))), [rows.length, length]);
        const every = {
            input_ids: filled((row, k) => row[k] ?? 0), attention_mask: filled((row, k) => Number(k < row.length)),
            token_type_ids: filled(() => 0)
        };
        const feed = Object.fromEntries(this.session.inputNames.map((name) => [name, every[name]]));
        const {data, dims: [, , size]} = (await this.session.run(feed))[this.session.outputNames[0]];
        return rows.map((row, at) => {
            const vector = new Float32Array(size);
            for (let k = 0; k < row.length; k++) {
                for (let j = 0; j < size; j++)
                    vector[j] += data[(at * length + k) * size + j];
            }
            const norm = Math.hypot(...vector);
            return vector.map((value) => value / norm);
        });
    }
}

/** Have the runtime compiled: a model of one node that hands its input on. */
async function start(options) {
    const nothing = Uint8Array.from(atob("CAg6NwoQCgF4EgF5IghJZGVudGl0eRIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEBI="), (c) => c.charCodeAt(0));
    await ort.InferenceSession.create(nothing, options).catch(() => {});
}
