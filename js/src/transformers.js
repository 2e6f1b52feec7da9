// transformers.js asks a cache for each file of a model; this one makes the .onnx that it asks for out of a Taut file.
import {onNode} from "./engine.js";
import {openFile} from "./file.js";

const plain = (name) => name.replace(/[?#].*$/s, "");

/**
 * A cache for `env.customCache` of transformers.js. `where(name)` says what Taut file an .onnx comes of, or undefined;
 * by default, for `x.onnx` it is `x.taut.safetensors` beside it. `files` says it for single names.
 * Everything else is left to `next`, if there is one: the browser's own cache, for instance.
 */
export function modelCache({files = {}, where, next, ...options} = {}) {
    const made = new Map();
    const named = Object.entries(files);
    const guessed = where === undefined && named.length === 0;
    const find = where ?? ((name) => {
        for (const [end, file] of named) {
            if (plain(name) === end || plain(name).endsWith(`/${end}`))
                return file;
        }
        return guessed && /\.onnx$/.test(plain(name)) ? plain(name).replace(/\.onnx$/, ".taut.safetensors") : undefined;
    });
    const make = async (file) => {
        const opened = await openFile(file, {whole: true, ...options});
        try {
            return await opened.toOnnx({signal: options.signal});
        } finally {
            await opened.close();
        }
    };
    return {
        async match(request) {
            const name = typeof request === "string" ? request : request.url;
            const file = find(name);
            if (file === undefined)
                return next?.match(request);
            if (!made.has(file))
                made.set(file, make(file));
            let bytes;
            try {
                bytes = await made.get(file);
            } catch (error) {  // what throws here is passed over, and the .onnx itself fetched
                made.delete(file);
                if (guessed && error.missing)  // no Taut file there: the .onnx itself, perhaps
                    return next?.match(request);
                return new Response(new ReadableStream({pull: (out) => out.error(error)}));
            }
            if (!onNode)  // in Node it is asked for twice
                made.delete(file);
            return new Response(bytes, {headers: {"content-length": String(bytes.length), "content-type": "application/octet-stream"}});
        },
        async put(request, response) {
            const name = typeof request === "string" ? request : request.url;
            if (find(name) === undefined)
                await next?.put(request, response);
        },
        async delete(request) {
            return next?.delete?.(request) ?? false;
        }
    };
}
