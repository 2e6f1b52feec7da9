// Reads Taut files in browsers, workers and Node.
import {openFile, TautFile} from "./file.js";
import {isIndex, openShards, TautShards} from "./shards.js";

export {hasVectors, useModule} from "./engine.js";
export {TautError} from "./errors.js";
export {modelCache} from "./transformers.js";
export {TautFile, TautShards};

/** Open a Taut file, or the index of several: a URL, a path (in Node), bytes, a Blob, a Response, or {size, read}. */
export async function open(what, options) {
    return isIndex(what) ? openShards(what, options ?? {}) : openFile(what, options ?? {});
}
