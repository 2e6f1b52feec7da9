// transformers.js asks a cache for each file of a model; this one makes the .onnx that it asks for out of a Taut file.
import {onNode} from "./engine.js";
import {TautError} from "./errors.js";
import {openFile} from "./file.js";

const MODEL = /\.onnx$/, DATA = /\.onnx_data(_\d+)?$/;
const plain = (name) => name.replace(/[?#].*$/s, "");
const last = (name) => plain(name).replace(/^.*[/\\]/s, "");

/**
 * A cache for `env.customCache` of transformers.js. For `x.onnx` and its weights in `x.onnx_data` it looks for
 * `x.taut.safetensors` beside them; `files` names the Taut file of single ones by the end of their names, `where(name)`
 * of any. All else, and what is not there, is left to `next`: the browser's own cache, for instance.
 */
export function modelCache({files, where, next, ...options} = {}) {
    const made = new Map();
    const named = Object.entries(files ?? {});
    const guessed = files === undefined && where === undefined;
    const find = where ?? ((name) => guessed ? beside(name) :
        named.find(([end]) => plain(name) === end || plain(name).endsWith(`/${end}`))?.[1]);

    async function bytesOf(file, name) {
        if (!made.has(file))
            made.set(file, opened(file, options));
        try {
            const {kind, all} = await made.get(file);
            const found = all.find((one) => last(one.name) === last(name)) ??
                (MODEL.test(plain(name)) === (kind === "onnx") ? all[0] : undefined);
            if (found === undefined)
                throw Object.assign(new TautError("argument", `${name}: is nothing that was compressed into ${file}, which ` +
                    `holds ${all.map((one) => one.name).join(", ")}`), {missing: true});
            if (!onNode) {  // in Node it is asked for twice
                all.splice(all.indexOf(found), 1);
                if (all.length === 0)
                    made.delete(file);
            }
            return found.bytes;
        } catch (error) {
            if (!error.missing || error.code === "read")
                made.delete(file);
            throw error;
        }
    }

    return {
        async match(request) {
            const name = typeof request === "string" ? request : request.url;
            const file = find(name);
            if (file === undefined)
                return next?.match(request);
            try {
                const bytes = await bytesOf(file, name);
                const headers = {"content-length": String(bytes.length), "content-type": "application/octet-stream"};
                return new Response(bytes, {headers});
            } catch (error) {
                if (guessed && error.missing)  // no Taut file there, or one without a graph: the .onnx itself, perhaps
                    return next?.match(request);
                // What is thrown here would be passed over, and the .onnx itself fetched.
                return new Response(new ReadableStream({pull: (out) => out.error(error)}));
            }
        },
        async put(request, response) {
            const name = typeof request === "string" ? request : request.url;
            if (find(name) === undefined || guessed)
                await next?.put(request, response);
        },
        async delete(request) {
            return await next?.delete?.(request) ?? false;
        }
    };
}

function beside(name) {
    const path = plain(name);
    return MODEL.test(path) || DATA.test(path) ? path.replace(/\.onnx(_data(_\d+)?)?$/, ".taut.safetensors") : undefined;
}

async function opened(file, options) {
    const m = await openFile(file, {whole: true, ...options});
    try {
        const all = await m.originals({signal: options.signal});
        return {kind: m.isOnnx(all[0]) ? "onnx" : "safetensors", all};
    } finally {
        await m.close();
    }
}
